"""Batches of files through OpenAI's official SDK, against the API alone: jobs are ended by hand."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import openai
import pytest
from openai.types import BatchUsage
from sqlalchemy import update

from producer.arrival import Arrival
from producer.blocks import LINES_PER_TRANSACTION
from producer.bootstrap import ProducerContext
from producer.file_batches import read_file_batch
from producer.filling import Filler
from producer.options import Allowance
from producer.reporting.result_lines import Format
from shared.db import tables
from shared.db.repositories import batch_moves, batches, intakes, job_claims, jobs, retention
from shared.domain.inference import Constraints, Preferences, Request, Tier
from shared.domain.job import JobStatus, job_id_of
from shared.errors import UnavailableError
from shared.ids import claim_token
from tests.integration.producer import sdk
from tests.integration.producer.conftest import ADMIN_KEY
from tests.integration.producer.finished import finish, number_of

KEYS = {
    "id", "object", "endpoint", "model", "errors", "input_file_id", "completion_window", "status",
    "output_file_id", "error_file_id", "created_at", "in_progress_at", "expires_at",
    "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at",
    "request_counts", "usage", "metadata",
}  # fmt: skip


USED_BY_ONE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 15,
}


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with sdk.connect(address, ADMIN_KEY) as client:
        yield client


def running(client: openai.OpenAI, content: bytes, **more: Any) -> str:
    batch = sdk.batch_of(client, content, **more)
    batch = sdk.until(lambda: client.batches.retrieve(batch.id), "in_progress", "failed")
    assert batch.status == "in_progress", batch.errors
    return batch.id


def test_a_batch_of_embeddings_takes_their_lines_and_no_others(client: openai.OpenAI):
    good = b"\n".join(sdk.embeddings_line(f"c{i}", input=[f"text {i}"]) for i in range(3))
    batch_id = running(client, good, endpoint="/v1/embeddings")
    assert client.batches.retrieve(batch_id).endpoint == "/v1/embeddings"
    (error,) = failed(client, good + b"\n" + sdk.line("x"), endpoint="/v1/embeddings")
    assert (error.code, error.param, error.line) == ("url_mismatch", "url", 4)


def failed(client: openai.OpenAI, content: bytes, **more: Any) -> list[Any]:
    batch = sdk.batch_of(client, content, **more)
    batch = sdk.until(lambda: client.batches.retrieve(batch.id), "in_progress", "failed")
    assert batch.status == "failed"
    assert batch.failed_at
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    assert batch.request_counts
    assert batch.request_counts.total == 0
    assert batch.errors
    return batch.errors.data or []


def test_a_new_batch_tells_everything_it_is_and_is_validated_afterwards(client: openai.OpenAI):
    file = sdk.upload(client, sdk.lines(2))
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint=sdk.CHAT,
        completion_window="24h",
        metadata={"who": "me"},
        output_expires_after={"anchor": "created_at", "seconds": 3600},
        extra_body={"max_cost_usd": "0.5", "priority": "batch"},
    )
    told = batch.model_dump()
    assert set(told) >= KEYS
    assert (batch.status, batch.input_file_id, batch.endpoint) == ("validating", file.id, sdk.CHAT)
    assert batch.expires_at == batch.created_at + 86_400
    assert batch.metadata == {"who": "me"}
    assert batch.usage
    assert batch.usage.total_tokens == 0
    assert told["promptmill"]["max_cost_nusd"] == 500_000_000
    batch = sdk.until(lambda: client.batches.retrieve(batch.id), "in_progress")
    assert batch.request_counts
    assert batch.request_counts.total == 2


def test_outputs_grow_while_the_batch_runs_and_are_files_when_it_has_ended(
    client: openai.OpenAI, context: ProducerContext
):
    batch_id = running(
        client, sdk.lines(4), output_expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert client.batches.retrieve(batch_id).output_file_id is None
    finish(context, batch_id, 2, text="vier, señor")
    early = client.batches.retrieve(batch_id)
    assert early.output_file_id
    assert [each.usage for each in client.batches.list()] == [early.usage]
    assert early.usage == BatchUsage.model_validate(USED_BY_ONE)
    assert client.files.retrieve(early.output_file_id).status == "uploaded"
    assert [each["custom_id"] for each in output(client, early.output_file_id)] == ["c2"]
    with pytest.raises(openai.ConflictError):
        client.files.delete(early.output_file_id)

    finish(context, batch_id, 1, climbs=1)
    finish(context, batch_id, 3, error={"code": "bad", "message": "no", "status": 400})
    finish(context, batch_id, 4, error={"code": "poison", "message": "gave up"})
    batch = client.batches.retrieve(batch_id)
    assert batch.status == "completed"
    moments = [
        batch.created_at, batch.in_progress_at, batch.finalizing_at, batch.completed_at,
    ]  # fmt: skip
    assert moments == sorted(moments)  # type: ignore[type-var]
    assert batch.request_counts
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 2)
    assert batch.usage
    assert batch.usage.total_tokens == 60
    assert batch.output_file_id == early.output_file_id
    assert batch.error_file_id

    good = output(client, batch.output_file_id)
    assert [each["custom_id"] for each in good] == ["c1", "c2"]
    assert {each["response"]["status_code"] for each in good} == {200}
    assert {each["error"] for each in good} == {None}
    body = good[0]["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "four"
    ours = body["promptmill"]
    assert ours["job_id"].startswith("job_")
    assert (ours["task_type"], ours["difficulty"], ours["tier"]) == ("simple_qa", 0.125, "cheap")
    assert (ours["model"], ours["provider"]) == ("m-cheap", "p")
    assert (ours["attempts"], ours["escalated"]) == (1, True)
    assert (ours["cost_usd"], ours["latency_s"]) == ("0.000001", 0.005)

    http, other = output(client, batch.error_file_id)
    assert (http["error"], http["response"]["status_code"]) == (None, 400)
    assert http["response"]["body"]["error"]["code"] == "bad"
    assert (other["response"], other["error"]["code"]) == (None, "poison")

    listed = list(client.files.list(purpose="batch_output"))
    assert {file.id for file in listed} == {batch.output_file_id, batch.error_file_id}
    for file in listed:
        assert file.bytes == len(client.files.content(file.id).read())
        assert file.expires_at == file.created_at + 3600
        assert file.status == "processed"
        client.files.delete(file.id)
        with pytest.raises(openai.NotFoundError):
            client.files.content(file.id)
    assert b"".join(context.results.stream(number_of(context, batch_id), Format.JSONL))


def output(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    return sdk.read_lines(client.files.content(file_id).read())


def test_a_batch_without_a_single_answer_is_completed_without_an_output_file(
    client: openai.OpenAI, context: ProducerContext
):
    batch_id = running(client, sdk.lines(2))
    for line in (1, 2):
        finish(context, batch_id, line, error={"code": "bad", "message": "no", "status": 500})
    batch = client.batches.retrieve(batch_id)
    assert (batch.status, batch.output_file_id) == ("completed", None)
    assert len(output(client, batch.error_file_id)) == 2


BAD = [
    (b"not json", "invalid_json_line", None),
    (b'{"custom_id": "x", "url": "/v1/chat/completions", "body": {}}', None, "method"),
    (sdk.line("x", url="/v1/responses"), "url_mismatch", "url"),
    (sdk.embeddings_line("x", input="a text"), "url_mismatch", "url"),
    (sdk.line("c1"), "duplicate_custom_id", "custom_id"),
    (sdk.line("x", model="gpt-99"), "model_not_found", "body.model"),
]


@pytest.mark.parametrize(("bad", "code", "param"), BAD)
def test_one_bad_line_fails_the_whole_batch_with_line_and_code(
    client: openai.OpenAI, bad: bytes, code: str | None, param: str | None
):
    (error,) = failed(client, sdk.lines(2) + b"\n\n" + bad + b"\n" + sdk.line("last"))
    assert error.line == 4
    assert error.code == (code or "missing_required_parameter")
    assert error.param == param
    assert error.message


def test_all_bad_lines_are_counted_and_the_first_hundred_told(client: openai.OpenAI):
    errors = failed(client, b"nonsense\n" * 250)
    assert [error.line for error in errors[:100]] == list(range(1, 101))
    assert [(error.code, error.line) for error in errors[100:]] == [("more_errors", None)]
    assert "150" in errors[100].message


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_fails_its_batch(client: openai.OpenAI, content: bytes):
    assert [error.code for error in failed(client, content)] == ["empty_file"]


def test_a_file_of_too_many_lines_fails_its_batch(client: openai.OpenAI):
    assert [error.code for error in failed(client, b"{}\n" * 20_001)] == ["too_many_tasks"]


def test_with_partial_the_good_lines_run_and_the_bad_ones_stand_in_the_error_file(
    client: openai.OpenAI, context: ProducerContext
):
    content = sdk.lines(2) + b"\nnot json\n" + sdk.line("x", model="gpt-99")
    batch_id = running(client, content, extra_body={"partial": True})
    for line in (1, 2):
        finish(context, batch_id, line)
    batch = client.batches.retrieve(batch_id)
    assert batch.status == "completed"
    assert [each["custom_id"] for each in output(client, batch.output_file_id)] == ["c1", "c2"]
    first, second = output(client, batch.error_file_id)
    assert first["response"]["status_code"] == second["response"]["status_code"] == 400
    assert second["response"]["body"]["error"]["param"] == "body.model"
    assert len(failed(client, b"x\ny\n", extra_body={"partial": True})) == 2


def test_the_batchs_preferences_and_constraints_are_the_lines_defaults(
    client: openai.OpenAI, context: ProducerContext
):
    own = sdk.line("own", preferences={"quality": 1}, constraints={"max_cost_usd": 1})
    extras = {
        "preferences": {"cost": 1},
        "constraints": {"max_cost_usd": "0.5", "min_tier": "mid"},
    }
    batch_id = running(client, own + b"\n" + sdk.line("none"), extra_body=extras)
    first, second = requests_of(context, batch_id, 2)
    assert first.preferences == Preferences(0.0, 0.0, 1.0)
    assert first.constraints == Constraints(1_000_000_000, None, None, Tier.MID)
    assert second.preferences == Preferences(1.0, 0.0, 0.0)
    assert second.constraints == Constraints(500_000_000, None, None, Tier.MID)


def requests_of(context: ProducerContext, batch_id: str, count: int) -> list[Request]:
    number, now = number_of(context, batch_id), context.clock()
    ids = [job_id_of(number, line) for line in range(1, count + 1)]
    with context.database.transaction() as connection:
        token = claim_token()
        assert job_claims.claim(connection, ids, token, now + timedelta(minutes=1))
        claimed = job_claims.claimed(connection, ids, token)
    return [Request.from_json(job.request) for job in claimed]


@pytest.mark.parametrize(
    ("changes", "status", "code", "param"),
    [
        ({"input_file_id": None}, 400, "missing_required_parameter", "input_file_id"),
        ({"endpoint": None}, 400, "missing_required_parameter", "endpoint"),
        ({"completion_window": None}, 400, "missing_required_parameter", "completion_window"),
        ({"completion_window": "soon"}, 400, "invalid_value", "completion_window"),
        ({"endpoint": "/v1/responses"}, 400, "unsupported_endpoint", "endpoint"),
        ({"endpoint": 7}, 400, "invalid_type", "endpoint"),
        ({"input_file_id": "file-none"}, 404, "file_not_found", "input_file_id"),
        ({"max_cost": "1"}, 400, "unknown_parameter", "max_cost"),
        ({"max_cost_usd": "-1"}, 400, "invalid_value", "max_cost_usd"),
        ({"partial": "yes"}, 400, "invalid_type", "partial"),
        ({"priority": "high"}, 400, "invalid_value", "priority"),
        ({"metadata": {"a": 1}}, 400, "invalid_type", "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, 400, "invalid_value",
         "output_expires_after.seconds"),
        ({"output_expires_after": 7}, 400, "invalid_type", "output_expires_after"),
        ({"preferences": {"speed": 1}}, 400, "unknown_parameter", "preferences.speed"),
        ({"constraints": {"min_tier": "x"}}, 400, "invalid_value", "constraints.min_tier"),
        ({"webhook_url": "http://10.0.0.1/"}, 400, "forbidden_address", "url"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_by_the_name_of_its_field(
    client: openai.OpenAI, api: httpx.Client, changes: dict[str, Any], status: int, code: str,
    param: str,
):  # fmt: skip
    asked = {"endpoint": sdk.CHAT, "completion_window": "24h"}
    if "input_file_id" not in changes:
        asked["input_file_id"] = sdk.upload(client, sdk.lines(1)).id
    body = {name: value for name, value in {**asked, **changes}.items() if value is not None}
    response = api.post("/v1/batches", json=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert api.get("/v1/batches").json()["data"] == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b" " * 100_000])
def test_a_body_that_is_no_object_is_refused(api: httpx.Client, body: bytes):
    headers = {"Content-Type": "application/json"}
    response = api.post("/v1/batches", content=body, headers=headers)
    assert response.status_code in (400, 413)
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_the_same_key_and_body_are_the_same_batch_and_another_body_a_conflict(
    client: openai.OpenAI,
):
    file = sdk.upload(client, sdk.lines(1))
    asked: dict[str, Any] = {
        "input_file_id": file.id, "endpoint": sdk.CHAT, "completion_window": "24h",
        "extra_headers": {"Idempotency-Key": "k"},
    }  # fmt: skip
    first = client.batches.create(**asked)
    client.files.delete(file.id)
    assert client.batches.create(**asked).id == first.id
    with pytest.raises(openai.ConflictError) as caught:
        client.batches.create(**asked, metadata={"a": "b"})
    assert caught.value.code == "idempotency_conflict"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(list(client.batches.list())) == 1


def test_what_the_sdk_sends_again_is_made_once_and_what_a_person_sends_again_twice(
    client: openai.OpenAI, api: httpx.Client, context: ProducerContext,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    real = type(context.file_batches).create
    answers: list[str] = []

    def lose_the_first_answer(self: Any, *arguments: Any, **named: Any) -> Any:
        made = real(self, *arguments, **named)
        answers.append(made.batch.id)
        if len(answers) == 1:
            raise UnavailableError("the answer is lost on its way")
        return made

    monkeypatch.setattr(type(context.file_batches), "create", lose_the_first_answer)
    file = sdk.upload(client, sdk.lines(1))
    asked: dict[str, Any] = {
        "input_file_id": file.id, "endpoint": sdk.CHAT, "completion_window": "24h"
    }  # fmt: skip
    batch = client.batches.create(**asked)
    assert answers == [batch.id, batch.id]
    assert client.batches.create(**asked).id != batch.id
    other = api.post("/v1/keys", json={}).json()["key"]
    headers = {"Authorization": f"Bearer {other}", "x-stainless-retry-count": "1"}
    assert api.post("/v1/batches", json=asked, headers=headers).status_code == 200
    assert len(set(answers)) == 3  # another caller's repetition is no repetition of ours


def test_a_create_and_its_own_repetition_make_one_batch_whoever_comes_first(
    context: ProducerContext,
):
    upload = context.files.upload()
    upload.write(sdk.lines(1))
    file = upload.keep("default", "batch", None, None)
    body = {"input_file_id": file.id, "endpoint": sdk.CHAT, "completion_window": "24h"}
    wanted = read_file_batch(body, context.catalog)

    def make(arrival: Arrival) -> str:
        made = context.file_batches.create(wanted, "default", arrival, Allowance())
        return str(made.batch.id)

    seen: set[str] = set()
    for _ in range(12):
        first = Arrival(None, "me", context.clock())
        repetition = Arrival(None, "me", context.clock(), is_repetition=True)
        # After what is a minute to the clock nothing of the round before is known any more.
        with ThreadPoolExecutor(2) as threads:
            (one,) = set(threads.map(make, (first, repetition)))
        with context.database.transaction() as connection:
            old = context.clock() - timedelta(minutes=2)
            connection.execute(update(tables.batches).values(created_at=old))
        seen.add(one)
    assert len(seen) == 12
    late = make(Arrival(None, "me", context.clock(), is_repetition=True))
    assert make(Arrival(None, "me", context.clock())) != late  # a person's second request


def test_the_secret_of_a_new_webhook_is_told_again_to_the_request_that_made_it(
    client: openai.OpenAI, api: httpx.Client, context: ProducerContext
):
    file = sdk.upload(client, sdk.lines(1))
    url = "http://127.0.0.1:9/hook"
    body = {
        "input_file_id": file.id, "endpoint": sdk.CHAT, "completion_window": "24h",
        "webhook_url": url,
    }  # fmt: skip
    again = {"x-stainless-retry-count": "1"}
    made = api.post("/v1/batches", json=body).json()["webhook"]
    assert api.post("/v1/batches", json=body, headers=again).json()["webhook"] == made
    other = api.post("/v1/batches", json={**body, "name": "other"}).json()["webhook"]
    assert other == {"id": made["id"]}

    new = {"url": url + "2", "name": "n"}
    endpoint = api.post("/v1/webhook_endpoints", json=new).json()
    assert endpoint["signing_secret"]
    assert api.post("/v1/webhook_endpoints", json=new, headers=again).json() == endpoint
    assert api.post("/v1/webhook_endpoints", json=new).status_code == 409
    changed = {**new, "name": "m"}
    assert api.post("/v1/webhook_endpoints", json=changed, headers=again).status_code == 409

    with context.database.transaction() as connection:  # a minute later
        old = context.clock() - timedelta(minutes=2)
        moments = {"created_at": old, "updated_at": old}
        connection.execute(update(tables.webhook_endpoints).values(moments))
    assert api.post("/v1/webhook_endpoints", json=new, headers=again).status_code == 409


def test_cancelling_is_answered_the_same_until_it_is_done_and_then_a_conflict(
    client: openai.OpenAI, context: ProducerContext
):
    batch_id = running(client, sdk.lines(3))
    finish(context, batch_id, 1)
    first, again = client.batches.cancel(batch_id), client.batches.cancel(batch_id)
    assert (first.status, again.status) == ("cancelling", "cancelling")
    assert again.cancelling_at == first.cancelling_at
    with context.database.transaction() as connection:  # as the batch closer does
        number = number_of(context, batch_id)
        assert jobs.end_waiting(connection, number, JobStatus.CANCELLED, context.clock()) == 2
    batch = client.batches.retrieve(batch_id)
    assert batch.status == "cancelled"
    assert len(output(client, batch.output_file_id)) == 1
    errors = output(client, batch.error_file_id)
    assert [(each["response"], each["error"]["code"]) for each in errors] == [
        (None, "batch_cancelled")
    ] * 2
    with pytest.raises(openai.ConflictError) as caught:
        client.batches.cancel(batch_id)
    assert caught.value.body["message"] == "Cannot cancel a batch with status 'cancelled'."
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_an_expired_batch_keeps_its_finished_work(client: openai.OpenAI, context: ProducerContext):
    batch_id = running(client, sdk.lines(2), completion_window="60s")
    finish(context, batch_id, 1)
    number, now = number_of(context, batch_id), context.clock()
    with context.database.transaction() as connection:  # as the batch closer does
        batch_moves.begin_expiry(connection, number, now)
        jobs.end_waiting(connection, number, JobStatus.EXPIRED, now)
    batch = client.batches.retrieve(batch_id)
    assert batch.status == "expired"
    assert batch.expired_at
    assert len(output(client, batch.output_file_id)) == 1
    (line,) = output(client, batch.error_file_id)
    assert line["error"]["code"] == "batch_expired"


def test_batches_page_themselves_to_the_end(client: openai.OpenAI):
    made = [sdk.batch_of(client, sdk.lines(1)).id for _ in range(3)]
    assert [batch.id for batch in client.batches.list(limit=1)] == made[::-1]


def test_errors_are_the_sdks_own_types(client: openai.OpenAI, address: str):
    with pytest.raises(openai.NotFoundError) as caught:
        client.batches.retrieve("batch_none")
    assert (caught.value.code, caught.value.param) == ("batch_not_found", None)
    assert caught.value.request_id
    with sdk.connect(address, "wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.batches.list()


def test_models_are_listed_and_retrieved(client: openai.OpenAI, context: ProducerContext):
    found = {model.id: model for model in client.models.list()}
    words = [name for name, model in found.items() if model.owned_by == "promptmill"]
    tiers = [tier for tier in ("cheap", "mid", "high") if context.catalog.models_of(Tier(tier))]
    assert words == ["auto", "cheapest", "best", *tiers]
    assert list(found) == [*words, *context.catalog.models]
    for name, model in found.items():
        assert client.models.retrieve(name) == model
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("org/model:1")
    assert caught.value.code == "model_not_found"


# -- the reading of files: one process at a time, none of whose deaths matters ------------------


def waiting(context: ProducerContext, content: bytes) -> int:
    """A batch whose file nobody has read yet; no API runs."""
    upload = context.files.upload()
    upload.write(content)
    file = upload.keep("default", "batch", None, None)
    body = {"input_file_id": file.id, "endpoint": sdk.CHAT, "completion_window": "24h"}
    wanted = read_file_batch(body, context.catalog)
    made = context.file_batches.create(
        wanted, "default", Arrival(None, "me", context.clock()), Allowance()
    )
    return int(made.batch.number)


def row_of(context: ProducerContext, number: int) -> Any:
    with context.database.reading() as connection:
        return batches.by_number(connection, number)


def test_a_file_whose_reader_died_is_read_on_after_its_last_line(
    context: ProducerContext, monkeypatch: pytest.MonkeyPatch
):
    count = LINES_PER_TRANSACTION + 5
    number = waiting(context, sdk.lines(count))
    write = Filler.write

    def write_once_and_die(self: Filler, *arguments: Any, **named: Any) -> None:
        write(self, *arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Filler, "write", write_once_and_die)
        with pytest.raises(KeyboardInterrupt):
            context.file_intake.run_once(threading.Event())
    batch = row_of(context, number)
    assert (batch.status, batch.total) == ("validating", LINES_PER_TRANSACTION)
    assert not context.file_intake.run_once(threading.Event())  # the dead one's lease
    with context.database.reading() as connection:
        # Maintenance sees no upload that could be lost.
        assert batch.id not in {row.id for row in batches.open_batches(connection)}
    with context.database.transaction() as connection:  # time passes
        assert intakes.any_due(connection, context.clock() + timedelta(seconds=31))
        token = claim_token()
        later = context.clock() + timedelta(seconds=31)
        assert intakes.claim(connection, token, later, later)
        intakes.hand_back(connection, number, token, None)
    assert context.file_intake.run_once(threading.Event())
    batch = row_of(context, number)
    assert (batch.status, batch.total, batch.rejected) == ("in_progress", count, 0)
    assert not context.file_intake.run_once(threading.Event())


def test_a_reader_that_was_given_up_writes_nothing_more(
    context: ProducerContext, monkeypatch: pytest.MonkeyPatch
):
    number = waiting(context, sdk.lines(10))
    write = Filler.write

    def overtaken(self: Filler, *arguments: Any, **named: Any) -> None:
        with context.database.transaction() as connection:
            later = context.clock() + timedelta(seconds=31)
            assert intakes.claim(connection, claim_token(), later, later)
        write(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Filler, "write", overtaken)
        assert context.file_intake.run_once(threading.Event())
    assert row_of(context, number).total == 0


def test_a_process_that_is_told_to_stop_hands_the_file_back(context: ProducerContext):
    number = waiting(context, sdk.lines(10))
    stop = threading.Event()
    stop.set()
    assert context.file_intake.run_once(stop)
    assert row_of(context, number).status == "validating"
    assert context.file_intake.run_once(threading.Event())
    assert row_of(context, number).status == "in_progress"


def test_a_storage_that_is_down_delays_a_batch_and_one_that_lost_the_file_fails_it(
    context: ProducerContext, monkeypatch: pytest.MonkeyPatch
):
    number = waiting(context, sdk.lines(1))

    def broken(*_: object) -> None:
        raise UnavailableError("the file storage does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(type(context.file_intake.storage), "reader", broken)
        assert context.file_intake.run_once(threading.Event())
    batch = row_of(context, number)
    assert batch.status == "validating"
    with context.database.transaction() as connection:
        later = context.clock() + timedelta(seconds=6)
        token = claim_token()
        assert intakes.claim(connection, token, later, later)
        intakes.hand_back(connection, number, token, None)
    context.file_intake.storage.remove(batch.input_file_id)
    assert context.file_intake.run_once(threading.Event())
    batch = row_of(context, number)
    assert (batch.status, batch.error["code"]) == ("failed", "input_file_gone")


def test_a_batch_cancelled_before_its_file_was_read_stays_so(context: ProducerContext):
    number = waiting(context, sdk.lines(3))
    context.steering.cancel(row_of(context, number).id, None)
    with context.database.reading() as connection:
        assert number in {row.number for row in batches.open_batches(connection)}
    assert context.file_intake.run_once(threading.Event())
    with context.database.transaction() as connection:  # as the batch closer does
        batch_moves.close_finished(connection, [number], context.clock())
    batch = row_of(context, number)
    assert (batch.status, batch.total) == ("cancelled", 0)


def test_files_of_a_pruned_batch_go_with_it(client: openai.OpenAI, context: ProducerContext):
    batch_id = running(client, sdk.lines(1))
    finish(context, batch_id, 1)
    number = number_of(context, batch_id)
    with context.database.transaction() as connection:
        retention.delete_jobs(connection, number, 10)
        retention.delete_batch(connection, number)
    assert list(client.files.list(purpose="batch_output")) == []


def test_many_readers_read_every_file_once(context: ProducerContext):
    numbers = [waiting(context, sdk.lines(20)) for _ in range(6)]

    def read() -> None:
        while context.file_intake.run_once(threading.Event()):
            pass

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A reader ends where another one holds the last file: what is left is read by one more look.
    read()
    assert [(row_of(context, n).status, row_of(context, n).total) for n in numbers] == [
        ("in_progress", 20)
    ] * 6


def test_the_answers_of_old_are_given_back_byte_for_byte(
    client: openai.OpenAI, context: ProducerContext
):
    batch_id = running(client, sdk.lines(1))
    finish(context, batch_id, 1, text='"}{ ☃ \\')
    (each,) = output(client, client.batches.retrieve(batch_id).output_file_id)
    assert each["response"]["body"]["choices"][0]["message"]["content"] == '"}{ ☃ \\'
