"""Limits of API keys over HTTP: requests a minute, tokens a day, money; and the count's own law."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from producer.accounts.key_limits import KeyLimits, TooManyTokensError, worst_case_tokens
from producer.arrival import Arrival
from producer.asked import Asked, read_chat
from producer.bootstrap import ProducerContext
from producer.options import Allowance
from shared.budget.ledger import Ledger
from shared.db.engine import Database
from shared.domain.inference import Request
from shared.errors import ConflictError
from tests.integration.producer.finished import finish
from tests.servers.waiting import wait_for

JSONL = {"Content-Type": "application/x-ndjson"}
WORST = worst_case_tokens(Request(({"role": "user", "content": "a"},), max_tokens=400), 1024)


@pytest.fixture
def keyed(api: httpx.Client, address: str) -> Any:
    """Makes clients with keys of their own."""
    made: list[httpx.Client] = []

    def make(**limits: Any) -> httpx.Client:
        key = api.post("/v1/keys", json={"name": "limited", **limits}).json()
        headers = {"Authorization": f"Bearer {key['key']}", "x-key-id": key["id"]}
        made.append(httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False))
        return made[-1]

    yield make
    for client in made:
        client.close()


def submit(client: httpx.Client, lines: int = 1) -> httpx.Response:
    body = "\n".join(json.dumps({"prompt": f"{i}", "max_tokens": 400}) for i in range(lines))
    return client.post("/v1/batches", content=body, headers=JSONL)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_requests_a_minute_are_told_with_every_answer(keyed: Callable[..., httpx.Client]):
    client = keyed(requests_per_minute=3)
    left = []
    for path in ("/v1/budget", "/v1/batches/none", "/v1/budget"):
        headers = client.get(path).headers
        assert headers["x-ratelimit-limit-requests"] == "3"
        left.append(headers["x-ratelimit-remaining-requests"])
    refused = client.get("/v1/budget")
    if left == ["2", "1", "0"]:  # otherwise a new minute began meanwhile
        assert code_of(refused) == (429, "rate_limit_exceeded")
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_tokens_are_counted_at_their_worst_and_corrected_when_a_batch_has_ended(
    keyed: Callable[..., httpx.Client], context: ProducerContext
):
    client = keyed(tokens_per_day=3 * WORST + 1)
    first = submit(client, 2).json()["id"]
    refused = submit(client, 2)
    assert code_of(refused) == (429, "token_limit_exceeded")
    assert refused.headers["x-ratelimit-limit-tokens"] == str(3 * WORST + 1)
    assert refused.headers["x-ratelimit-remaining-tokens"] == str(WORST + 1)
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["x-should-retry"] == "false"
    for line in (1, 2):
        finish(context, first, line)  # a hundredth of the worst case
    assert submit(client, 2).status_code == 200


def test_a_lost_count_is_made_anew_from_the_database(
    keyed: Callable[..., httpx.Client], redis_client: "Redis"
):
    client = keyed(tokens_per_day=3 * WORST)
    assert submit(client, 2).status_code == 200
    redis_client.flushall()
    assert code_of(submit(client, 2)) == (429, "token_limit_exceeded")
    assert submit(client, 1).status_code == 200


def test_the_same_submission_again_counts_nothing(keyed: Callable[..., httpx.Client]):
    client = keyed(tokens_per_day=WORST)
    headers = {**JSONL, "Idempotency-Key": "once"}
    line = b'{"prompt": "a", "max_tokens": 400}'
    for _ in range(3):
        assert client.post("/v1/batches", content=line, headers=headers).status_code == 200
    assert code_of(submit(client)) == (429, "token_limit_exceeded")


def test_a_conversation_is_told_again_although_its_key_has_nothing_left(
    context: ProducerContext, api: httpx.Client
):
    key = api.post("/v1/keys", json={"tokens_per_day": 1200}).json()["id"]
    allowance = Allowance(key, 1200)
    body = b'{"messages": [{"role": "user", "content": "a"}]}'
    asked = read_chat(body, context.catalog)
    chats = context.conversations
    once, other = (Arrival(key, "me", context.clock()) for key in ("once", "other"))
    first = chats.begin(chats.new_id(), asked, "default", once, allowance)
    assert chats.begin(chats.new_id(), asked, "default", once, allowance) == first
    with pytest.raises(TooManyTokensError):
        chats.begin(chats.new_id(), asked, "default", other, allowance)


def test_who_loses_the_race_for_an_idempotency_key_has_its_tokens_back_at_once(
    context: ProducerContext, api: httpx.Client
):
    questions = [read_chat(_question(str(n)), context.catalog) for n in range(8)]
    worst = worst_case_tokens(questions[0].requests[0], 1024)
    key = api.post("/v1/keys", json={"tokens_per_day": 8 * worst}).json()["id"]
    allowance = Allowance(key, 8 * worst)
    chats = context.conversations
    at_once = threading.Barrier(8)

    def begin(asked: Asked) -> bool:
        at_once.wait()
        arrival = Arrival("one-key", "me", context.clock())
        try:
            chats.begin(chats.new_id(), asked, "default", arrival, allowance)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(begin, questions)).count(True) == 1
    for number in range(7):  # the winner holds one eighth of the day, the losers nothing
        arrival = Arrival(f"key-{number}", "me", context.clock())
        chats.begin(chats.new_id(), questions[0], "default", arrival, allowance)


def _question(text: str) -> bytes:
    return b'{"messages": [{"role": "user", "content": "%b"}]}' % text.encode()


def test_a_file_beyond_the_keys_tokens_fails_its_batch(keyed: Callable[..., httpx.Client]):
    client = keyed(tokens_per_day=100, scopes=["submit", "read"])
    body = {"model": "auto", "messages": [{"role": "user", "content": "a"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    files = {"file": ("in.jsonl", json.dumps(line).encode())}
    file = client.post("/v1/files", files=files, data={"purpose": "batch"}).json()
    wanted = {"endpoint": line["url"], "completion_window": "24h", "input_file_id": file["id"]}
    batch = client.post("/v1/batches", json=wanted).json()["id"]

    def failed() -> bool:
        return bool(client.get(f"/v1/batches/{batch}").json()["status"] == "failed")

    wait_for(failed, "the batch fails")
    (error,) = client.get(f"/v1/batches/{batch}").json()["errors"]["data"]
    assert error["code"] == "token_limit_exceeded"


def test_a_key_that_has_spent_its_limit_submits_nothing_more(
    keyed: Callable[..., httpx.Client], context: ProducerContext, api: httpx.Client
):
    client = keyed(spend_limit_usd="0.000002")  # 2,000 nUSD
    batch = submit(client, 2).json()["id"]
    for line in (1, 2):
        finish(context, batch, line, cost_nusd=1000)
    for answer in (
        submit(client),
        client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "a"}]}),
    ):
        assert code_of(answer) == (402, "key_limit_exceeded")
        assert answer.headers["x-should-retry"] == "false"
        assert answer.json()["error"]["type"] == "insufficient_quota"
    path = f"/v1/keys/{client.headers['x-key-id']}"
    assert client.patch(path, json={"spend_limit_usd": "1"}).status_code == 403
    changed = api.patch(path, json={"spend_limit_usd": "1"}).json()
    assert changed["spend_limit_nusd"] == 10**9
    assert submit(client).status_code == 200


def test_only_a_spend_limit_that_is_there_can_be_changed(
    keyed: Callable[..., httpx.Client], api: httpx.Client
):
    path = f"/v1/keys/{keyed().headers['x-key-id']}"
    change = {"spend_limit_usd": 1}
    assert code_of(api.patch(path, json=change)) == (409, "key_without_limit")
    assert code_of(api.patch("/v1/keys/key_none", json=change)) == (404, "key_not_found")
    assert code_of(api.patch(path, json={})) == (400, "missing_required_parameter")
    other = {"X-Promptmill-Project": "other"}
    api.post("/v1/projects", json={"name": "other"})
    assert code_of(api.patch(path, json=change, headers=other)) == (404, "key_not_found")


def test_any_number_of_threads_and_processes_keep_a_days_limit(
    context: ProducerContext, api: httpx.Client
):
    key = api.post("/v1/keys", json={"tokens_per_day": 1000}).json()["id"]
    allowance = Allowance(key, 1000)
    apart = [limits_of(context.database, context.redis) for _ in range(3)]

    def take(number: int) -> int:
        try:
            apart[number % 3].take_tokens(allowance, f"batch_{number}", 30)
        except TooManyTokensError:
            return 0
        return 30

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(take, range(120))) == 990


def limits_of(database: Database, client: "Redis") -> KeyLimits:
    from shared.clock import utc_now

    return KeyLimits(database, Ledger(client), client, default_max_tokens=1024, clock=utc_now)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.integers(0, 9), st.integers(0, 60)),
            st.tuples(st.just("end"), st.integers(0, 9), st.integers(0, 60)),
        ),
        max_size=30,
    )
)
def test_the_count_is_what_a_list_of_batches_says(
    steps: list[tuple[str, int, int]], redis_client: "Redis", sqlite_url: str
):
    redis_client.flushall()
    database = Database(sqlite_url)
    limits = limits_of(database, redis_client)
    allowance = Allowance("key_1", 100)
    counted: dict[str, int] = {}
    ended: dict[str, int] = {}
    for verb, number, tokens in steps:
        batch = f"batch_{number}"
        if verb == "end":
            name = limits._name("key_1", limits._clock())
            limits._correct(keys=[name], args=[batch, tokens])
            if batch in counted:
                del counted[batch]
                ended[batch] = ended.get(batch, 0) + tokens
            continue
        fits = sum(counted.values()) + sum(ended.values()) + tokens <= 100
        try:
            limits.take_tokens(allowance, batch, tokens)
        except TooManyTokensError:
            assert batch not in counted
            assert not fits
        else:
            assert batch in counted or fits
            counted.setdefault(batch, tokens)
    database.close()
