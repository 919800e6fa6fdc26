"""The command line as a user runs it: exit codes, what goes to which output, and how it reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from producer.client.answers import TRIES
from tests.integration.client.conftest import Cli
from tests.integration.client.scripted_api import BREAK_OFF, Answer, ScriptedApi, batch

COMMANDS = [
    *("submit", "plan", "status", "watch", "results", "cancel", "retry", "report", "resume"),
    *(
        "ask",
        "route",
        "models",
        "providers",
        "up",
        "demo",
        "top",
        "doctor",
        "worker",
        "api",
        "migrate",
    ),
    *(
        "evaluate",
        "top",
        "reconcile",
        "budget show",
        "budget set",
        "project create",
        "project list",
        "key create",
    ),
    *("key list", "key limit", "key revoke", "webhook create", "webhook list", "webhook test"),
    *("webhook redeliver", "webhook deliveries"),
    *(f"analytics {name}" for name in ("usage", "savings", "hints", "models", "requests")),
    *("template create", "template list", "template show", "template delete"),
]
REJECTED = [
    {"line": n, "field": "prompt", "code": "missing_required_parameter", "message": "give a prompt"}
    for n in range(1, 24)
]
RESULT = {
    "custom_id": "a",
    "line": 1,
    "status": "completed",
    "text": "It is \x1b[31mfour\x1b[0m.",
    "model": "small",
    "provider": "host",
    "tier": "cheap",
    "task_type": "simple_qa",
    "difficulty": 0.1,
    "attempts": 1,
    "escalated": False,
    "cached": False,
    "cost_nusd": 1200,
    "cost_usd": "0.0000012",
    "finish_reason": "stop",
    "error": None,
    "response": {},
}


def _lines(*lines: object) -> Answer:
    return Answer("".join(json.dumps(line) + "\n" for line in lines).encode())


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')
    return "in.jsonl"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run_cli: Cli, command: str) -> None:
    done = run_cli(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert f"promptmill {command}" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"],
        ["submit", "there-is-none.jsonl"],
        ["submit", "."],
        ["submit", "-", "--max-cost", "much"],
        ["submit", "-", "--max-cost", "-1"],
        ["results", "b", "--format", "xml"],
        ["budget", "set", "--project", "p"],
        ["budget", "set", "--day", "-5"],
        ["budget", "set", "--day", "nan"],
        ["route"],
        ["route", "prompt", "--jsonl", "-"],
        ["worker", "--role", "king"],
        ["no-such-command"],
        ["status", "--no-such-option"],
    ],
)
def test_bad_usage_is_two_lines_and_code_2(run_cli: Cli, arguments: list[str]) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert 1 <= len(done.stderr.splitlines()) <= 2


def test_without_a_server_it_says_how_to_start_one(run_cli: Cli) -> None:
    done = run_cli("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "promptmill up" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_error_of_the_api_is_one_line_with_its_request(api: ScriptedApi, cli: Cli) -> None:
    api.on("GET", "/v1/batches/b", api.error(404, "not_found", "there is no such batch"))
    done = cli("status", "b")
    assert done.returncode == 1
    assert done.stderr == "promptmill: there is no such batch (request req_1)\n"


def test_an_api_that_breaks_off_gives_no_traceback(api: ScriptedApi, cli: Cli) -> None:
    api.on("GET", "/v1/budget", BREAK_OFF)
    done = cli("budget", "show")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_answer_that_is_not_promptmills_gives_no_traceback(api: ScriptedApi, cli: Cli) -> None:
    api.on("GET", "/v1/batches/b", Answer(b"<html>hello</html>"))
    done = cli("status", "b")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_submit_prints_the_batch_and_its_first_bad_lines(
    api: ScriptedApi, cli: Cli, file: str
) -> None:
    api.on("POST", "/v1/batches", batch(queued=3) | {"rejected": REJECTED, "rejected_count": 23})
    done = cli("submit", file, "--max-cost", "1.50", "--idempotency-key", "k")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("batch_1")
    assert "23 bad lines" in done.stdout
    assert done.stdout.count("give a prompt") == 20
    assert "3 more: `promptmill results batch_1`" in done.stdout
    (asked,) = api.asked
    assert asked.query == {"max_cost_usd": "1.50"}
    assert asked.headers["idempotency-key"] == "k"


def test_submit_as_json_is_one_document_with_the_bad_lines(
    api: ScriptedApi, cli: Cli, file: str
) -> None:
    api.on("POST", "/v1/batches", batch(queued=3) | {"rejected": REJECTED, "rejected_count": 23})
    document = json.loads(cli("submit", file, "--json").stdout)
    assert document["id"] == "batch_1"
    assert document["rejected"] == REJECTED
    assert document["counts"]["queued"] == document["promptmill"]["counts"]["queued"] == 3
    assert document["cost_nusd"] == 1_500_000


def test_a_submission_without_an_answer_is_gone_on_with_by_the_same_command(
    api: ScriptedApi, cli: Cli, file: str, tmp_path: Path
) -> None:
    lost = [BREAK_OFF] * TRIES
    api.on("POST", "/v1/batches", *lost, batch(queued=1), batch(queued=1), batch(queued=1))
    assert cli("submit", file).returncode == 1
    assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 1
    for _ in range(2):  # answered by then, so the second of these means a new batch
        assert cli("submit", file).returncode == 0
    (tmp_path / file).write_text('{"prompt": "another"}\n')
    assert cli("submit", file, "--start", "complete").returncode == 0

    first, again, new, other = (asked.headers["idempotency-key"] for asked in api.asked[3:])
    assert first == again
    assert len({first, new, other}) == 3
    assert api.asked[-1].query == {"start": "complete"}
    assert not (tmp_path / ".promptmill" / "sending").exists()


def test_a_batch_that_is_still_read_says_so(api: ScriptedApi, cli: Cli) -> None:
    filling = batch(queued=3, completed=1)
    filling["promptmill"]["filling"] = True
    api.on("GET", "/v1/batches/batch_1", filling, filling, batch("completed", completed=4))
    assert "reading: 4 lines so far" in cli("status", "batch_1").stdout
    watched = cli("watch", "batch_1")
    assert watched.returncode == 0
    assert "batch_1 reading, 4 lines so far: 1 done" in watched.stderr


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_strict_submission_with_bad_lines_fails_and_shows_them(
    api: ScriptedApi, cli: Cli, file: str, form: list[str]
) -> None:
    body = {
        "error": {"message": "the file has 23 bad lines", "code": "invalid_lines"},
        "rejected": REJECTED,
    }
    api.on("POST", "/v1/batches", Answer(json.dumps(body).encode(), 400))
    done = cli("submit", file, "--strict", *form)
    assert done.returncode == 1
    assert "nothing was submitted" in done.stderr
    assert api.asked[0].query == {"strict": "true"}
    if form:
        assert json.loads(done.stdout)["rejected"] == REJECTED
    else:
        assert "missing_required_parameter" in done.stdout


def test_standard_input_can_be_submitted(api: ScriptedApi, cli: Cli) -> None:
    api.on("POST", "/v1/batches", batch(queued=1))
    assert cli("submit", "-", stdin='{"prompt": "b"}\n').returncode == 0
    assert api.asked[0].body == b'{"prompt": "b"}\n'


def test_waiting_writes_the_results_and_shows_them(
    api: ScriptedApi, cli: Cli, file: str, tmp_path: Path
) -> None:
    api.on("POST", "/v1/batches", batch(queued=1))
    api.on("GET", "/v1/batches/batch_1", batch(running=1), batch("completed", completed=1))
    api.on("GET", "/v1/batches/batch_1/results", _lines(RESULT))
    done = cli("submit", file, "-o", "out.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.jsonl").read_text())["custom_id"] == "a"
    assert list(tmp_path.glob(".*.part")) == []
    assert "simple_qa" in done.stdout
    assert "\x1b" not in done.stdout
    assert "1/1 done" in done.stderr


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (batch("completed", completed=1, failed=1), 0),
        (batch("completed", failed=2), 1),
        (batch("cancelled", cancelled=2), 1),
        (batch("expired", completed=1, expired=1), 1),
        (batch("in_progress", completed=1, held=1), 1),
    ],
    ids=["some answered", "none answered", "cancelled", "expired", "held"],
)
def test_waiting_succeeds_only_with_answers(
    api: ScriptedApi, cli: Cli, file: str, end: dict[str, object], code: int
) -> None:
    api.on("POST", "/v1/batches", batch(queued=2))
    api.on("GET", "/v1/batches/batch_1", end)
    api.on("GET", "/v1/batches/batch_1/results", _lines(RESULT))
    done = cli("submit", file, "--wait", "--json")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["status"] == end["status"]


def test_watching_a_batch_that_is_called_off_fails(api: ScriptedApi, cli: Cli) -> None:
    ended = batch("cancelled", completed=1, cancelled=1)
    api.on("GET", "/v1/batches/batch_1", batch(running=2), ended)
    done = cli("watch", "batch_1")
    assert done.returncode == 1
    assert "cancelled" in done.stdout
    assert done.stderr.splitlines()[-1].endswith("2/2 done, 1 cancelled, $0.0015")


def test_watching_says_what_lets_held_jobs_go_on(api: ScriptedApi, cli: Cli) -> None:
    held = batch(completed=1, held=1)
    api.on("GET", "/v1/batches/batch_1", held, held, batch("completed", completed=2))
    done = cli("watch", "batch_1")
    assert done.returncode == 0
    assert done.stderr.count("promptmill resume batch_1 --max-cost USD") == 1


def test_retry_ends_when_all_failed_jobs_are_back_in_the_queue(api: ScriptedApi, cli: Cli) -> None:
    def at(line: int | None, **counts: int) -> dict[str, Any]:
        told = batch(**counts)
        return told | {"promptmill": told["promptmill"] | {"retry_at_line": line}}

    api.on("POST", "/v1/batches/b/retry", at(1000, queued=1000, failed=1500))
    looks = (at(2000, queued=2000, failed=500), at(None, queued=2500))
    api.on("GET", "/v1/batches/batch_1", *looks)
    done = cli("retry", "b", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["counts"]["queued"] == 2500
    assert "retried up to line 2000" in done.stderr
    assert [each.method for each in api.asked] == ["POST", "GET", "GET"]


def test_results_go_to_standard_output_byte_by_byte(api: ScriptedApi, cli: Cli) -> None:
    api.on("GET", "/v1/batches/b/results", Answer(b"line,text\r\n1,\xc3\xa9\r\n"))
    api.on("GET", "/v1/batches/b", batch(running=1, completed=1))
    done = cli("results", "b", "--format", "csv")
    assert done.returncode == 0
    assert done.stdout == "line,text\n1,é\n"  # the test reads with universal newlines
    assert "1 of 2 jobs are not here yet" in done.stderr
    assert api.asked[0].query == {"format": "csv"}


def test_results_that_fail_leave_the_old_file_alone(
    api: ScriptedApi, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "out.jsonl").write_text("before")
    api.on("GET", "/v1/batches/b/results", api.error(500, "server_error", "sorry"))
    assert cli("results", "b", "-o", "out.jsonl").returncode == 1
    assert (tmp_path / "out.jsonl").read_text() == "before"


def test_none_lifts_a_limit_and_what_is_not_named_stays(api: ScriptedApi, cli: Cli) -> None:
    windows = [
        {"window": "day", "period": "2026-11-21", "limit_nusd": 2_500_000_000}
        | {"spent_nusd": 1, "reserved_nusd": 0, "remaining_nusd": 2_499_999_999},
        {"window": "total", "period": None, "limit_nusd": None}
        | {"spent_nusd": 1, "reserved_nusd": 0, "remaining_nusd": None},
    ]
    api.on("PUT", "/v1/budget", {"project": "p", "windows": windows})
    done = cli("budget", "set", "--project", "p", "--day", "2.5", "--total", "none")
    assert done.returncode == 0, done.stderr
    assert json.loads(api.asked[0].body) == {"project": "p", "day_usd": "2.5", "total_usd": None}
    assert "$2.499999999" in done.stdout


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("status", "/v1/batches"),
        ("models", "/v1/models"),
        ("providers", "/v1/providers"),
        ("project list", "/v1/projects"),
        ("key list", "/v1/keys"),
        ("webhook list", "/v1/webhook_endpoints"),
        ("webhook deliveries we_1", "/v1/webhook_endpoints/we_1/deliveries"),
    ],
)
def test_every_listing_as_json_is_a_list_and_nothing_else(
    api: ScriptedApi, cli: Cli, command: str, path: str
) -> None:
    item = batch() if command == "status" else {"id": "x", "url": "https://example.com"}
    api.on("GET", path, {"object": "list", "data": [item], "has_more": False})
    done = cli(*command.split(), "--json")
    assert done.returncode == 0, done.stderr
    assert [each["id"] for each in json.loads(done.stdout)] == [item["id"]]
    assert cli(*command.split()).returncode == 0


def test_a_question_prints_its_answer_and_nothing_else(api: ScriptedApi, cli: Cli) -> None:
    api.on("POST", "/v1/chat/completions", _completion("It is \x1b[31mfour\x1b[0m."))
    done = cli("ask", "2 + 2?", "--max-tokens", "9", "--max-cost", "0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "It is \N{REPLACEMENT CHARACTER}[31mfour\N{REPLACEMENT CHARACTER}[0m.\n"
    assert done.stderr == "small, $0.0000012\n"
    messages = [{"role": "user", "content": "2 + 2?"}]
    asked = {"messages": messages, "max_tokens": 9, "max_cost_usd": "0.5"}
    assert json.loads(api.asked[0].body) == asked


def test_a_question_to_a_named_tier_is_answered_as_it_comes(api: ScriptedApi, cli: Cli) -> None:
    chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("fo", "u\x1br")]
    end = _completion("") | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in (*chunks, end))
    api.on("POST", "/v1/chat/completions", Answer(f"{events}data: [DONE]\n\n".encode()))
    done = cli("ask", "2 + 2?", "--model", "cheap")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "fou\N{REPLACEMENT CHARACTER}r\n"
    assert done.stderr == "small, $0.0000012\n"
    asked = json.loads(api.asked[0].body)
    assert (asked["model"], asked["stream"]) == ("cheap", True)


def test_a_question_as_json_is_the_jobs_whole_story(api: ScriptedApi, cli: Cli) -> None:
    api.on("POST", "/v1/chat/completions", _completion("four"))
    api.on("GET", "/v1/jobs/job_1000001", {"id": "job_1000001", "attempts": []})
    done = cli("ask", "2 + 2?", "--model", "cheap", "--json")
    assert json.loads(done.stdout)["id"] == "job_1000001"
    assert "stream" not in json.loads(api.asked[0].body)


def test_a_question_without_an_answer_fails_with_its_reason(api: ScriptedApi, cli: Cli) -> None:
    refusal = api.error(400, "no_model", "no model may answer")
    api.on("POST", "/v1/chat/completions", refusal)
    for arguments in ((), ("--model", "cheap"), ("--json",)):
        done = cli("ask", "2 + 2?", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "promptmill: no model may answer (request req_1)\n"


def _completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    own = {"job_id": "job_1000001", "model": "small", "cost_nusd": 1200}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "chatcmpl-1000001", "choices": [choice], "promptmill": own}


def test_a_webhook_test_that_was_not_accepted_fails(api: ScriptedApi, cli: Cli) -> None:
    api.on("POST", "/v1/webhook_endpoints/we_1/test", {"success": False, "status_code": 500})
    done = cli("webhook", "test", "we_1", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["status_code"] == 500


def test_routes_need_no_server_and_give_a_line_for_each_line(run_cli: Cli) -> None:
    lines = '{"prompt": "What is the capital of France?", "custom_id": "a"}\n{bad\n'
    done = run_cli("route", "--jsonl", "-", stdin=lines)
    assert done.returncode == 1
    good, bad = [json.loads(line) for line in done.stdout.splitlines()]
    named = {"custom_id", "task_type", "difficulty", "level", "confidence", "tier", "model"}
    assert set(good) == named | {"ladder", "reasons"}
    assert bad["error"]["code"] == "invalid_json_line"
    assert run_cli("route", "What is the capital of France?").returncode == 0


def test_a_plan_needs_no_server_and_says_so(run_cli: Cli) -> None:
    done = run_cli("plan", "-", "--json", stdin='{"prompt": "Write a sonnet."}\n' * 3)
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)["cost_nusd"]
    assert 0 < cost["p50"] <= cost["p95"] <= cost["worst"]
    assert "catalog on this machine" in done.stderr


def test_a_wrong_setting_is_named(run_cli: Cli) -> None:
    done = run_cli("status", env={"PROMPTMILL_CHUNK_SIZE": "many"})
    assert done.returncode == 1
    assert done.stderr.startswith("promptmill: PROMPTMILL_CHUNK_SIZE: ")


def test_migrate_brings_a_database_up_to_date_and_checks_it(run_cli: Cli, tmp_path: Path) -> None:
    assert run_cli("migrate", "--check").returncode == 1
    assert run_cli("migrate").returncode == 0
    assert run_cli("migrate", "--check").returncode == 0
    assert (tmp_path / ".promptmill" / "promptmill.db").is_file()
