"""The client against a real HTTP server that misbehaves as it is told."""

import asyncio
import io
import json
import threading
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from producer.client import (
    ApiError,
    AsyncPromptmill,
    Promptmill,
    UnreachableError,
    asynchronous,
    table_lines,
)
from tests.integration.client.scripted_api import BREAK_OFF, Answer, ScriptedApi, batch
from tests.servers.waiting import wait_for


def test_a_submission_that_breaks_off_is_sent_again_under_the_same_key(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on("POST", "/v1/batches", BREAK_OFF, api.error(503, "unavailable", "wait"), batch(queued=2))
    submitted = mill.submit([{"prompt": "a"}, '{"prompt": "b"}'], max_cost_usd="0.5")
    assert submitted.id == "batch_1"
    assert submitted.counts.queued == 2
    assert len(api.asked) == 3
    assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 1
    assert {asked.body for asked in api.asked} == {b'{"prompt":"a"}\n{"prompt": "b"}\n'}
    assert api.asked[-1].query == {"max_cost_usd": "0.5"}
    assert api.asked[-1].headers["authorization"] == "Bearer pm_test"
    assert api.asked[-1].headers["content-type"] == "application/x-ndjson"


def test_a_key_is_not_made_twice_because_an_answer_was_lost(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on("POST", "/v1/keys", BREAK_OFF, {"id": "key_1", "key": "pm_x"})
    with pytest.raises(UnreachableError):
        mill.create_key(project="p")
    assert len(api.asked) == 1


def test_a_refusal_is_not_repeated_and_carries_its_reason(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on("POST", "/v1/batches", api.error(503, "draining", "going down", x_should_retry="false"))
    with pytest.raises(ApiError) as caught:
        mill.submit([{"prompt": "a"}])
    assert (caught.value.status, caught.value.code) == (503, "draining")
    assert caught.value.request_id == "req_1"
    assert len(api.asked) == 1


def test_nobody_listening_is_an_error_that_says_what_to_do(api: ScriptedApi) -> None:
    url = api.url
    api.on("GET", "/v1/budget", {})
    closed = ScriptedApi()
    nowhere = closed.url
    closed.close()
    assert nowhere != url
    with Promptmill(nowhere, "k") as mill, pytest.raises(UnreachableError, match="promptmill up"):
        mill.budget()


def test_results_are_read_page_by_page_in_order(api: ScriptedApi, mill: Promptmill) -> None:
    lines = [{"line": n, "text": f"answer\u2028{n}"} for n in (1, 2, 4, 5, 9)]
    pages = [lines[:2], lines[2:4], lines[4:]]
    for page in pages:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in page)
        api.on("GET", "/v1/batches/batch_1/results", Answer(text.encode()))
    assert list(mill.results("batch_1", page=2)) == lines
    assert [asked.query["after"] for asked in api.asked] == ["0", "2", "5"]


def test_lists_follow_their_cursor_to_the_end(api: ScriptedApi, mill: Promptmill) -> None:
    first = {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b"}
    api.on("GET", "/v1/projects", first, {"data": [{"id": "c"}], "has_more": False})
    assert [project["id"] for project in mill.projects()] == ["a", "b", "c"]
    assert api.asked[1].query == {"after": "b"}


def test_a_page_that_a_filter_left_empty_is_not_the_end(api: ScriptedApi, mill: Promptmill) -> None:
    where = "/v1/analytics/requests"
    empty = {"data": [], "has_more": True, "last_id": "job_9"}
    last = {"data": [{"id": "job_3"}], "has_more": True, "last_id": "job_9"}
    api.on("GET", where, empty, last)  # which a cursor that stands still ends
    assert [row["id"] for row in mill.requests(status="failed")] == ["job_3"]
    assert api.asked[1].query == {"after": "job_9", "status": "failed"}


def test_waiting_reports_every_look_and_ends_with_the_batch(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on(
        "GET",
        "/v1/batches/batch_1",
        batch("validating"),
        batch(queued=1, running=1),
        batch(running=1, completed=1),
        batch("completed", completed=2),
    )
    seen: list[int] = []
    ended = mill.wait("batch_1", lambda each: seen.append(each.counts.completed))
    assert ended.status == "completed"
    assert seen == [0, 0, 1, 2]


def test_waiting_ends_where_only_money_would_move_anything(
    api: ScriptedApi, mill: Promptmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asynchronous, "HELD_PATIENCE_S", 0.1)
    api.on("GET", "/v1/batches/batch_1", batch(completed=1, held=2))
    assert mill.wait("batch_1").counts.held == 2


def test_waiting_through_a_hold_ends_with_the_batch(
    api: ScriptedApi, mill: Promptmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asynchronous, "HELD_PATIENCE_S", 0.0)
    held = batch(held=2)
    api.on("GET", "/v1/batches/batch_1", held, held, batch("completed", completed=2))
    assert mill.wait("batch_1", through_holds=True).status == "completed"


COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"content": "four"}, "finish_reason": "stop"}],
    "promptmill": {
        "job_id": "job_1",
        "model": "small",
        "provider": "host",
        "tier": "cheap",
        "task_type": "simple_qa",
        "difficulty": 0.1,
        "escalated": False,
        "attempts": 1,
        "cost_nusd": 1200,
    },
}


def streamed(*chunks: Any, done: bool = True) -> Answer:
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Answer("".join([": here\n\n", *events, "data: [DONE]\n\n" if done else ""]).encode())


def said(text: str | None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


def test_a_question_is_routed_by_its_wishes_and_answered_with_its_cost(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on("POST", "/v1/chat/completions", BREAK_OFF, COMPLETION)
    answer = mill.route_and_execute(
        "2 + 2?",
        {"cost": 1},
        {"max_cost_usd": Decimal("0.10"), "min_tier": "cheap"},
        max_tokens=5,
        max_cost_usd="0.5",
        fields={"temperature": 0},
    )
    assert (answer.text, answer.model, answer.cost_nusd) == ("four", "small", 1200)
    assert json.loads(api.asked[-1].body) == {
        "messages": [{"role": "user", "content": "2 + 2?"}],
        "max_tokens": 5,
        "max_cost_usd": "0.5",
        "preferences": {"cost": 1},
        "constraints": {"max_cost_usd": "0.10", "min_tier": "cheap"},
        "temperature": 0,
    }
    assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 1


def test_a_question_the_budget_cannot_carry_is_an_error_that_says_so(
    api: ScriptedApi, mill: Promptmill
) -> None:
    refusal = api.error(402, "budget_exceeded", "the day's budget", x_should_retry="false")
    api.on("POST", "/v1/chat/completions", refusal)
    with pytest.raises(ApiError, match="budget") as caught:
        mill.route_and_execute("why?")
    assert (caught.value.status, caught.value.code) == (402, "budget_exceeded")
    assert len(api.asked) == 1


def test_a_streamed_answer_is_told_in_pieces_and_then_as_a_whole(
    api: ScriptedApi, mill: Promptmill
) -> None:
    last = {**COMPLETION, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    chunks = (said(None), said("fo\u2028"), said("ur"), last)
    api.on("POST", "/v1/chat/completions", streamed(*chunks))
    *pieces, whole = mill.stream("2 + 2?", model="cheap")
    assert pieces == ["fo\u2028", "ur"]
    assert not isinstance(whole, str)
    assert (whole.text, whole.cost_nusd, whole.finish_reason) == ("fo\u2028ur", 1200, "stop")


def test_a_stream_that_fails_or_ends_early_is_an_error(api: ScriptedApi, mill: Promptmill) -> None:
    failed = streamed(said("a"), {"error": {"message": "it broke", "code": "provider_error"}})
    api.on("POST", "/v1/chat/completions", failed, streamed(said("a"), done=False))
    for message in ("it broke", "broke off"):
        pieces = mill.stream("why?")
        assert next(pieces) == "a"
        with pytest.raises(ApiError, match=message):
            next(pieces)


async def test_the_same_verbs_are_there_to_be_awaited(
    api: ScriptedApi, mill: Promptmill, tmp_path: Path
) -> None:
    api.on("POST", "/v1/batches", batch(queued=2))
    api.on("GET", "/v1/batches/batch_1", batch(running=2), batch("completed", completed=2))
    api.on("GET", "/v1/batches/batch_1/results", Answer(b'{"line": 1}\n{"line": 2}\n'))
    api.on("POST", "/v1/chat/completions", COMPLETION)
    (tmp_path / "t.csv").write_text("name\nAda\nBo\n")
    seen: list[str] = []
    async with AsyncPromptmill(api.url, "pm_test") as there:
        lines = table_lines(tmp_path / "t.csv", "greet")
        batch_id = (await there.submit(lines)).id
        ended = await there.wait(batch_id, lambda each: seen.append(each.status))
        assert [line["line"] async for line in there.results(batch_id)] == [1, 2]
        answers = await asyncio.gather(*(there.route_and_execute("a") for _ in range(5)))
    assert (ended.status, seen) == ("completed", ["in_progress", "completed"])
    assert [answer.text for answer in answers] == ["four"] * 5
    assert mill.batch(batch_id).is_over  # the other edge works where a loop is running, too


def test_every_verb_of_one_client_is_a_verb_of_the_other() -> None:
    def verbs(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")} - {"close", "aclose"}

    assert verbs(Promptmill) == verbs(AsyncPromptmill)


def test_a_closed_client_and_an_abandoned_listing_leave_nothing_behind(api: ScriptedApi) -> None:
    api.on("GET", "/v1/projects", {"data": [{"id": "a"}, {"id": "b"}], "has_more": True})
    before = threading.active_count()
    with Promptmill(api.url, "k") as mill:
        projects = mill.projects()
        assert next(projects)["id"] == "a"
    del projects
    with pytest.raises(RuntimeError, match="closed"):
        mill.batch("batch_1")
    wait_for(lambda: threading.active_count() <= before, "the client's thread ends")


def test_a_large_file_is_never_held_in_memory(
    api: ScriptedApi, mill: Promptmill, tmp_path: Path
) -> None:
    size = 64 * 1024 * 1024
    file = tmp_path / "large.jsonl"
    with file.open("wb") as out:
        out.truncate(size)
    api.on("POST", "/v1/batches", batch(queued=1))
    tracemalloc.start()
    try:
        mill.submit(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert api.asked[0].headers["content-length"] == str(size)
    assert peak < 16 * 1024 * 1024


def test_standard_input_is_read_once_and_can_still_be_sent_again(
    api: ScriptedApi, mill: Promptmill
) -> None:
    class OnlyOnce(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation("a pipe cannot go back")

    api.on("POST", "/v1/batches", BREAK_OFF, batch(queued=1))
    mill.submit(OnlyOnce(b'{"prompt": "a"}'))
    assert [asked.body for asked in api.asked] == [b'{"prompt": "a"}'] * 2
