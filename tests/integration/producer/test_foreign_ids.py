"""Two projects and each other's ids: every endpoint that takes one answers as if there were none.

The endpoints come from the API's own page, so that a new one cannot be forgotten.
"""

from typing import Any

import httpx
import pytest

from producer.arrival import Arrival
from producer.asked import read_chat
from producer.bootstrap import ProducerContext
from producer.options import Allowance
from shared.clock import utc_now
from shared.db.repositories import batches, webhook_deliveries
from shared.db.repositories.webhook_deliveries import NewDelivery
from shared.domain.job import job_id_of, public_job_id
from tests.integration.producer import sdk
from tests.integration.producer.finished import finish

HOOK = "http://127.0.0.1:9/hook"
OPEN_TO_ALL = {"/v1/models/{name}"}  # the catalog belongs to no project
BODIES: dict[str, Any] = {
    "post /v1/jobs/{job_id}/feedback": {"score": 1},
    "patch /v1/keys/{key_id}": {"spend_limit_usd": "1"},
    "post /v1/webhook_endpoints/{endpoint_id}": {"name": "taken over"},
}


@pytest.fixture
def keys(api: httpx.Client) -> dict[str, dict[str, str]]:
    """The headers of a key with every right in each of two projects."""
    made = {}
    for project in ("ours", "theirs"):
        api.post("/v1/projects", json={"name": project}).raise_for_status()
        body = {"project": project, "scopes": ["submit", "read", "admin"]}
        key = api.post("/v1/keys", json=body).raise_for_status().json()["key"]
        made[project] = {"Authorization": f"Bearer {key}"}
    return made


def belongings(
    api: httpx.Client, context: ProducerContext, headers: dict[str, str]
) -> dict[str, str]:
    """One of each kind of thing, by the name of its id in paths."""
    jsonl = {**headers, "Content-Type": "application/jsonl"}
    batch = api.post("/v1/batches", content=b'{"prompt":"x"}', headers=jsonl).json()["id"]
    upload = {"file": ("in.jsonl", sdk.lines(1))}
    file = api.post("/v1/files", data={"purpose": "batch"}, files=upload, headers=headers).json()
    endpoint = api.post("/v1/webhook_endpoints", json={"url": HOOK}, headers=headers).json()["id"]
    template = {"name": "greeting", "template": "Hello {{ name }}"}
    api.post("/v1/templates", json=template, headers=headers).raise_for_status()
    key = api.post("/v1/keys", json={}, headers=headers).json()["id"]
    with context.database.transaction() as connection:
        new = NewDelivery(endpoint, "evt_1", "batch.completed", "{}")
        webhook_deliveries.add(connection, [new], utc_now())
        (delivery,) = webhook_deliveries.page(connection, endpoint, limit=1)
    with context.database.reading() as connection:
        row = batches.get(connection, batch, None)
        assert row is not None
    return {
        "batch_id": batch,
        "job_id": public_job_id(job_id_of(row.number, 1)),
        "file_id": file["id"],
        "endpoint_id": endpoint,
        "delivery_id": delivery.id,
        "key_id": key,
        "reference": "greeting",
        "name": "greeting",
    }


def operations(api: httpx.Client) -> list[tuple[str, str]]:
    paths = api.get("/openapi.json").json()["paths"]
    return [
        (verb, path)
        for path, verbs in paths.items()
        for verb in verbs
        if "{" in path and path not in OPEN_TO_ALL
    ]


def test_no_endpoint_tells_or_touches_what_belongs_to_another_project(
    api: httpx.Client, context: ProducerContext, keys: dict[str, dict[str, str]]
):
    own = belongings(api, context, keys["ours"])
    nothing = dict.fromkeys(own, "none")
    walked = operations(api)
    readable = [path for verb, path in walked if verb == "get"]

    def view() -> list[bytes]:
        return [api.get(path.format(**own), headers=keys["ours"]).content for path in readable]

    before = view()
    assert all(b'"error":{' not in told for told in before), before
    admin = {**api.headers, "X-Promptmill-Project": "theirs"}
    for verb, path in walked:
        for headers in (keys["theirs"], admin):
            body = BODIES.get(f"{verb} {path}")
            foreign = api.request(verb, path.format(**own), headers=headers, json=body)
            absent = api.request(verb, path.format(**nothing), headers=headers, json=body)
            assert foreign.status_code == 404, (verb, path, foreign.text)
            assert foreign.content == absent.content, (verb, path)
    assert view() == before


def test_no_list_begins_at_or_shows_what_belongs_to_another_project(
    api: httpx.Client, context: ProducerContext, keys: dict[str, dict[str, str]]
):
    own = belongings(api, context, keys["ours"])
    cursors = {
        "/v1/batches": own["batch_id"],
        "/v1/files": own["file_id"],
        "/v1/webhook_endpoints": own["endpoint_id"],
        "/v1/keys": own["key_id"],
        "/v1/templates": own["name"],
    }
    for path, cursor in cursors.items():
        told = api.get(path, headers=keys["theirs"])
        begun = api.get(path, params={"after": cursor}, headers=keys["theirs"])
        for answer in (told, begun):
            assert cursor not in answer.text, path
            assert answer.status_code in (200, 404), (path, answer.text)


def test_a_batch_is_not_made_of_another_projects_file_nor_found_by_its_idempotency_key(
    api: httpx.Client, context: ProducerContext, keys: dict[str, dict[str, str]]
):
    own = belongings(api, context, keys["ours"])
    wanted = {
        "input_file_id": own["file_id"], "endpoint": sdk.CHAT, "completion_window": "24h"
    }  # fmt: skip
    refused = api.post("/v1/batches", json=wanted, headers=keys["theirs"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "file_not_found")

    made = {}
    for project, headers in keys.items():
        sent = {**headers, "Content-Type": "application/jsonl", "Idempotency-Key": "same"}
        made[project] = api.post("/v1/batches", content=b'{"prompt":"y"}', headers=sent).json()
    assert made["ours"]["id"] != made["theirs"]["id"]
    assert made["theirs"]["promptmill"]["project"] == "theirs"


def test_the_same_key_of_two_projects_makes_a_batch_of_a_file_and_a_conversation_for_each(
    api: httpx.Client, context: ProducerContext, keys: dict[str, dict[str, str]]
):
    asked = read_chat(b'{"messages": [{"role": "user", "content": "a"}]}', context.catalog)
    chats, batch_ids, chat_ids = context.conversations, set(), set()
    for project, headers in keys.items():
        upload = {"file": ("in.jsonl", sdk.lines(1))}
        purpose = {"purpose": "batch"}
        file = api.post("/v1/files", data=purpose, files=upload, headers=headers).json()["id"]
        wanted = {"input_file_id": file, "endpoint": sdk.CHAT, "completion_window": "24h"}
        keyed = {**headers, "Idempotency-Key": "same"}
        for _ in range(2):
            batch_ids.add(api.post("/v1/batches", json=wanted, headers=keyed).json()["id"])
            arrival = Arrival("of chats", "whoever", context.clock())
            begun = chats.begin(chats.new_id(), asked, project, arrival, Allowance())
            chat_ids.add(begun.id)
    assert (len(batch_ids), len(chat_ids)) == (2, 2)


def test_deliveries_and_requests_are_paged_from_ones_own_alone(
    api: httpx.Client, context: ProducerContext, keys: dict[str, dict[str, str]]
):
    ours = belongings(api, context, keys["ours"])
    theirs = belongings(api, context, keys["theirs"])
    log = f"/v1/webhook_endpoints/{theirs['endpoint_id']}/deliveries"
    page = {"after": ours["delivery_id"]}
    refused = api.get(log, params=page, headers=keys["theirs"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "delivery_not_found")
    finish(context, ours["batch_id"], 1)
    told = api.get("/v1/analytics/requests", headers=keys["ours"]).json()["data"]
    assert [each["id"] for each in told] == [ours["job_id"]]
    for params in ({}, {"after": ours["job_id"]}, {"after": theirs["job_id"]}):
        told = api.get("/v1/analytics/requests", params=params, headers=keys["theirs"])
        assert told.json()["data"] == []
