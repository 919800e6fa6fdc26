"""Batches through the real API: submission, state, results, steering, report."""

import csv
import io
from typing import Any

import httpx
import orjson
import pytest

from producer import cancellation
from producer.bootstrap import ProducerContext
from tests.integration.producer import sdk
from tests.integration.producer.finished import finish

GOOD = b'{"custom_id": "a", "prompt": "2+2?"}\n{"custom_id": "b", "prompt": "3+3?"}\n'
MIXED = (
    b'{"custom_id":"a","prompt":"x"}\nnot json\n\n{"custom_id":"b"}\n{"custom_id":"c","prompt":"y"}'
)
JSONL = {"Content-Type": "application/x-ndjson"}


def submit(
    api: httpx.Client, content: bytes = GOOD, key: str | None = None, **options: Any
) -> httpx.Response:
    headers = JSONL | ({} if key is None else {"Idempotency-Key": key})
    return api.post("/v1/batches", content=content, params=options, headers=headers)


def made(api: httpx.Client, content: bytes = GOOD, **options: Any) -> dict[str, Any]:
    response = submit(api, content, **options)
    assert response.status_code == 200, response.text
    return response.json()


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_a_good_file_becomes_a_batch_that_runs(api: httpx.Client, context: ProducerContext):
    batch = made(api, max_cost_usd="0.5", name="n", metadata='{"k": "v"}')
    assert (batch["object"], batch["status"]) == ("batch", "in_progress")
    assert batch["promptmill"]["counts"] == {
        "total": 2, "queued": 2, "running": 0, "held": 0, "completed": 0, "failed": 0,
        "cancelled": 0, "expired": 0,
    }  # fmt: skip
    assert batch["promptmill"]["max_cost_nusd"] == 500_000_000
    assert batch["metadata"] == {"k": "v"}
    assert (batch["rejected"], batch["rejected_count"]) == ([], 0)
    assert sum(context.publisher.depths().values()) == 1  # small: queued at once, as one chunk


def test_an_interactive_batch_is_queued_job_by_job_on_its_own_queue(
    api: httpx.Client, context: ProducerContext
):
    made(api, priority="interactive")
    assert context.publisher.depths()["promptmill.interactive"] == 2


def test_a_larger_batch_is_left_to_the_stager(api: httpx.Client, context: ProducerContext):
    batch = made(api, b"".join(b'{"prompt": "%d"}\n' % i for i in range(5000)))
    assert batch["promptmill"]["counts"]["queued"] == 5000
    assert sum(context.publisher.depths().values()) == 0


def test_a_mixed_file_runs_its_good_lines_and_names_the_bad_ones(api: httpx.Client):
    batch = made(api, MIXED)
    assert batch["status"] == "in_progress"
    assert [(bad["line"], bad["code"]) for bad in batch["rejected"]] == [
        (2, "invalid_json_line"),
        (4, "missing_required_parameter"),
    ]
    assert batch["promptmill"]["counts"]["failed"] == 2
    results = api.get(f"/v1/batches/{batch['id']}/results").text.splitlines()
    lines = [orjson.loads(line) for line in results]
    assert [(line["line"], line["custom_id"], line["status"]) for line in lines] == [
        (2, None, "failed"),
        (4, "b", "failed"),
    ]
    assert lines[1]["error"]["code"] == "missing_required_parameter"
    assert lines[1]["error"]["field"] == "prompt"


def test_strict_refuses_a_mixed_file_and_creates_nothing(api: httpx.Client):
    response = submit(api, MIXED, strict="true", webhook_url="http://127.0.0.1:9/x")
    assert error_of_with_rejected(response) == [2, 4]
    assert api.get("/v1/batches").json()["data"] == []
    assert api.get("/v1/webhook_endpoints").json()["data"] == []


def error_of_with_rejected(response: httpx.Response) -> list[int]:
    assert response.status_code == 400
    body = response.json()
    assert body["error"]["code"] == "invalid_lines"
    assert body["rejected_count"] == len(body["rejected"])
    return [bad["line"] for bad in body["rejected"]]


def test_a_file_without_a_good_line_is_a_failed_batch(api: httpx.Client):
    batch = made(api, b"x\ny\n")
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["code"] == "no_valid_lines"
    assert len(api.get(f"/v1/batches/{batch['id']}/results").text.splitlines()) == 2


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(api: httpx.Client, content: bytes):
    assert error_of(submit(api, content), 400)["code"] == "empty_file"


def test_the_same_key_and_content_give_the_same_batch(api: httpx.Client):
    first = made(api, MIXED, key="k1")
    again = made(api, MIXED, key="k1")
    assert again["id"] == first["id"]
    assert again["rejected"] == first["rejected"]
    assert len(api.get("/v1/batches").json()["data"]) == 1


@pytest.mark.parametrize(
    ("content", "options"), [(GOOD + b"\n", {}), (GOOD, {"max_cost_usd": "1"})]
)
def test_the_same_key_with_another_content_or_options_is_a_conflict(
    api: httpx.Client, content: bytes, options: dict[str, str]
):
    made(api, GOOD, key="k1")
    response = submit(api, content, key="k1", **options)
    assert error_of(response, 409)["code"] == "idempotency_conflict"
    assert response.headers["x-should-retry"] == "false"


def test_two_submissions_at_once_under_one_key_make_one_batch(api: httpx.Client):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: made(api, GOOD, key="same")["id"], range(8)))
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"max_cost": "1"}, "unknown_parameter"),
        ({"max_cost_usd": "-1"}, "invalid_value"),
        ({"max_cost_usd": "lots"}, "invalid_value"),
        ({"completion_window": "5s"}, "invalid_value"),
        ({"completion_window": "31d"}, "invalid_value"),
        ({"completion_window": "soon"}, "invalid_value"),
        ({"priority": "high"}, "invalid_value"),
        ({"metadata": "{"}, "invalid_json"),
        ({"metadata": '{"a": 1}'}, "invalid_type"),
        ({"strict": "perhaps"}, "invalid_value"),
        ({"webhook_url": "http://10.0.0.1/"}, "forbidden_address"),
        ({"name": "x" * 300}, "invalid_value"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_created(
    api: httpx.Client, options: dict[str, str], code: str
):
    response = submit(api, GOOD, **options)
    error = error_of(response, 400)
    assert error["code"] in (code, "invalid_type")
    assert api.get("/v1/batches").json()["data"] == []


def test_a_webhook_is_made_once_and_shows_its_secret_once(api: httpx.Client):
    url = "http://127.0.0.1:9/hook"
    first = made(api, webhook_url=url, name="x" * 255)["webhook"]
    again = made(api, webhook_url=url)["webhook"]
    assert first["signing_secret"].startswith("whsec_")
    assert again == {"id": first["id"]}


def test_another_body_than_jsonl_is_refused_with_415(api: httpx.Client):
    response = api.post("/v1/batches", content=b"x", headers={"Content-Type": "text/plain"})
    assert "application/x-ndjson" in error_of(response, 415)["message"]


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"x" * (9 * 1024 * 1024), "file_too_large"), (b"{}\n" * 20_001, "too_many_lines")],
)
def test_a_file_beyond_the_limits_is_refused_with_413(
    api: httpx.Client, context: ProducerContext, content: bytes, code: str
):
    assert error_of(submit(api, content), 413)["code"] == code
    assert list((context.settings.home_dir / "spool").iterdir()) == []


def test_batches_are_listed_newest_first_page_by_page(api: httpx.Client):
    made_ids = [made(api)["id"] for _ in range(3)]
    first = api.get("/v1/batches", params={"limit": 2}).json()
    rest = api.get("/v1/batches", params={"limit": 2, "after": first["last_id"]}).json()
    assert [b["id"] for b in first["data"] + rest["data"]] == made_ids[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_cancelling_ends_waiting_jobs_and_is_idempotent_until_the_end(api: httpx.Client):
    batch = made(api)
    cancelled = api.post(f"/v1/batches/{batch['id']}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["promptmill"]["counts"]["cancelled"] == 2
    response = api.post(f"/v1/batches/{batch['id']}/cancel")
    assert error_of(response, 409)["code"] == "batch_not_cancellable"
    assert response.headers["x-should-retry"] == "false"
    lines = api.get(f"/v1/batches/{batch['id']}/results", params={"format": "openai"})
    first = orjson.loads(lines.text.splitlines()[0])
    assert (first["response"], first["error"]["code"]) == (None, "batch_cancelled")


def run_mixed(api: httpx.Client, context: ProducerContext) -> str:
    """Three jobs: an answer, an answer that looks like a formula, an HTTP failure."""
    content = b"".join(b'{"custom_id":"%d","prompt":"%d"}\n' % (i, i) for i in (1, 2, 3))
    batch_id = made(api, content)["id"]
    finish(context, batch_id, 3, error={"code": "bad", "message": "no", "status": 400})
    finish(context, batch_id, 1, climbs=1, rescued=True)
    finish(context, batch_id, 2, text="=1+1")
    return str(batch_id)


def test_results_come_in_input_order_and_page_by_line(api: httpx.Client, context: ProducerContext):
    batch_id = run_mixed(api, context)
    lines = [orjson.loads(x) for x in api.get(f"/v1/batches/{batch_id}/results").iter_lines()]
    assert [line["line"] for line in lines] == [1, 2, 3]
    first = lines[0]
    assert (first["text"], first["escalated"], first["difficulty"]) == ("four", True, 0.125)
    assert (first["cost_nusd"], first["cost_usd"]) == (1000, "0.000001")
    assert first["response"]["choices"][0]["message"]["content"] == "four"
    assert lines[2]["error"] == {"code": "bad", "message": "no", "status": 400}
    page = api.get(f"/v1/batches/{batch_id}/results", params={"after": 1, "limit": 1}).text
    assert [orjson.loads(line)["line"] for line in page.splitlines()] == [2]


def test_openai_lines_tell_an_http_failure_in_the_response(
    api: httpx.Client, context: ProducerContext
):
    batch_id = run_mixed(api, context)
    text = api.get(f"/v1/batches/{batch_id}/results", params={"format": "openai"}).text
    good, _, bad = (orjson.loads(line) for line in text.splitlines())
    assert (good["custom_id"], good["response"]["status_code"], good["error"]) == ("1", 200, None)
    assert bad["error"] is None
    assert bad["response"]["status_code"] == 400
    assert bad["response"]["body"]["error"]["code"] == "bad"


def test_csv_holds_no_formulas(api: httpx.Client, context: ProducerContext):
    batch_id = run_mixed(api, context)
    text = api.get(f"/v1/batches/{batch_id}/results", params={"format": "csv"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["text"] for row in rows] == ["four", "'=1+1", ""]
    assert rows[2]["error_code"] == "bad"


def test_the_report_adds_up(api: httpx.Client, context: ProducerContext):
    batch_id = run_mixed(api, context)
    report = api.get(f"/v1/batches/{batch_id}/report").json()
    assert (report["total_cost_nusd"], report["unconfirmed_nusd"]) == (3000, 1000)
    (model,) = report["by_model"]
    assert (model["model"], model["attempts"], model["cost_nusd"]) == ("m-cheap", 3, 3000)
    assert (model["input_tokens"], model["cached_tokens"], model["output_tokens"]) == (30, 6, 15)
    assert report["by_task_type"] == [
        {"task_type": "simple_qa", "jobs": 3, "completed": 2, "cost_nusd": 3000,
         "cost_usd": "0.000003"}
    ]  # fmt: skip
    assert report["escalations"] == {
        "climbs": 1, "rescued": 1, "cost_nusd": 0, "cost_usd": "0.0"
    }  # fmt: skip
    assert report["errors"] == [
        {"code": "bad", "jobs": 1, "cost_nusd": 1000, "cost_usd": "0.000001"}
    ]
    assert report["attempts_without_answer"]["unconfirmed"]["attempts"] == 1
    assert report["always_strongest_nusd"] == 27_000
    assert report["saved_nusd"] == 24_000


def test_a_file_of_embeddings_alone_is_a_batch_of_theirs(api: httpx.Client):
    embeds = sdk.embeddings_line("a", input="x"), sdk.embeddings_line("b", input="y")
    for lines, endpoint in ((embeds, "/v1/embeddings"), ((*embeds, sdk.line("c")), sdk.CHAT)):
        batch = submit(api, b"\n".join(lines)).json()
        assert batch["rejected_count"] == 0
        assert batch["endpoint"] == endpoint


def test_an_ended_batch_tells_its_usage(api: httpx.Client, context: ProducerContext):
    batch_id = run_mixed(api, context)
    batch = api.get(f"/v1/batches/{batch_id}").json()
    assert batch["status"] == "completed"
    assert batch["usage"]["total_tokens"] == 45
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}


def test_retry_runs_failed_jobs_again_and_refused_lines_never(
    api: httpx.Client, context: ProducerContext
):
    batch_id = made(api, MIXED)["id"]
    refused = api.post(f"/v1/batches/{batch_id}/retry")
    assert error_of(refused, 409)["code"] == "batch_not_retriable"
    finish(context, batch_id, 1)
    finish(context, batch_id, 5, error={"code": "bad", "message": "no"})
    again = api.post(f"/v1/batches/{batch_id}/retry").json()
    assert again["status"] == "in_progress"
    counts = again["promptmill"]["counts"]
    assert (counts["queued"], counts["failed"], counts["completed"]) == (1, 2, 1)
    finish(context, batch_id, 5)
    nothing = api.post(f"/v1/batches/{batch_id}/retry")
    assert error_of(nothing, 409)["code"] == "nothing_to_retry"


def test_a_retry_that_is_under_way_goes_on_when_it_is_asked_for_again(
    api: httpx.Client, context: ProducerContext, monkeypatch: pytest.MonkeyPatch
):
    batch_id = made(api, b'{"prompt":"x"}')["id"]
    finish(context, batch_id, 1, error={"code": "bad", "message": "no"})
    for steps, at_line, failed in ((0, 0, 1), (1, None, 0)):
        monkeypatch.setattr(cancellation, "_ROUNDS", steps)
        told = api.post(f"/v1/batches/{batch_id}/retry").json()
        assert told["status"] == "in_progress"
        assert told["promptmill"]["retry_at_line"] == at_line
        assert told["promptmill"]["counts"]["failed"] == failed
    again = api.post(f"/v1/batches/{batch_id}/retry")
    assert error_of(again, 409)["code"] == "batch_not_retriable"


def test_resume_changes_the_cap_of_a_running_batch_only(
    api: httpx.Client, context: ProducerContext
):
    batch_id = made(api, max_cost_usd="0.001")["id"]
    resumed = api.post(f"/v1/batches/{batch_id}/resume", json={"max_cost_usd": "2"}).json()
    assert resumed["promptmill"]["max_cost_nusd"] == 2_000_000_000
    assert api.post(f"/v1/batches/{batch_id}/resume").status_code == 200
    wrong = api.post(f"/v1/batches/{batch_id}/resume", json={"max_cost_usd": "x"})
    assert error_of(wrong, 400)["param"] == "max_cost_usd"
    api.post(f"/v1/batches/{batch_id}/cancel")
    ended = api.post(f"/v1/batches/{batch_id}/resume", json={"max_cost_usd": "3"})
    assert error_of(ended, 409)["code"] == "batch_ended"


def test_a_job_tells_its_whole_story(api: httpx.Client, context: ProducerContext):
    from shared.domain.job import job_id_of, public_job_id
    from tests.integration.producer.finished import number_of

    batch_id = run_mixed(api, context)
    job_id = public_job_id(job_id_of(number_of(context, batch_id), 1))
    story = api.get(f"/v1/jobs/{job_id}").json()
    assert (story["status"], story["custom_id"], story["batch_id"]) == ("completed", "1", batch_id)
    assert story["route"]["excluded"] == {"x": "dear"}
    (attempt,) = story["attempts"]
    assert (attempt["cost_nusd"], attempt["verdict"]["accepted"]) == (1000, True)
    assert [event["type"] for event in story["events"]] == [
        "submitted", "attempt.started", "attempt.billed", "job.completed"
    ]  # fmt: skip
    for unknown in ("job_zz", "nonsense", public_job_id(job_id_of(10**6, 1))):
        assert error_of(api.get(f"/v1/jobs/{unknown}"), 404)["code"] == "job_not_found"
