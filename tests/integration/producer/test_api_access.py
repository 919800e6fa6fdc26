"""Keys, projects, budgets, webhooks, catalog and errors through the real API."""

import hashlib
import hmac
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from producer.bootstrap import ProducerContext
from shared.budget.model import Opening, Rebuild, Scope, ScopeKind
from shared.db.base import metadata
from shared.errors import AccessError
from tests.integration.producer.conftest import ADMIN_KEY
from tests.integration.producer.test_api_batches import error_of, made, submit


def key(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = api.post("/v1/keys", json=fields)
    assert response.status_code == 200, response.text
    return response.json()


def bearer(made_key: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made_key['key']}"}


def test_without_a_good_key_nothing_is_told(address: str):
    for headers in ({}, {"Authorization": "Bearer pm_wrong"}, {"Authorization": "Basic eA=="}):
        response = httpx.get(f"{address}/v1/batches", headers=headers, trust_env=False)
        assert error_of(response, 401)["type"] == "invalid_request_error"


def test_a_key_is_shown_once_and_acts_in_its_project_only(api: httpx.Client):
    api.post("/v1/projects", json={"name": "acme"})
    own = key(api, project="acme", name="k")
    assert own["key"].startswith("pm_")
    assert len(own["key"]) == 46
    assert own["key"].endswith(own["hint"])
    listed = api.get("/v1/keys", params={"project": "acme"}).json()["data"]
    assert [("key" in row, row["id"]) for row in listed] == [(False, own["id"])]

    elsewhere = made(api)["id"]
    here = api.post(
        "/v1/batches",
        content=b'{"prompt":"x"}',
        headers=bearer(own) | {"Content-Type": "application/jsonl"},
    ).json()
    assert here["promptmill"]["project"] == "acme"
    other = api.get(f"/v1/batches/{elsewhere}", headers=bearer(own))
    assert error_of(other, 404)["code"] == "batch_not_found"
    assert api.get(f"/v1/batches/{here['id']}", headers=bearer(own)).status_code == 200
    named = api.get("/v1/batches", params={"project": "default"}, headers=bearer(own))
    assert error_of(named, 404)["code"] == "project_not_found"


def test_no_key_is_kept_anywhere_but_as_its_hash(
    api: httpx.Client, context: ProducerContext, capfd: pytest.CaptureFixture[str]
):
    own = key(api, requests_per_minute=100)
    assert api.get("/v1/batches", headers=bearer(own)).status_code == 200
    error_of(api.get("/v1/batches", headers={"Authorization": f"Bearer {own['key']}x"}), 401)
    with context.database.reading() as connection:
        rows = [
            str(list(connection.execute(select(table)).all())) for table in metadata.sorted_tables
        ]
    kept = context.redis.scan_iter("*")
    everywhere = "".join([*rows, str([(name, context.redis.type(name)) for name in kept])])
    told = "".join(capfd.readouterr())
    assert hashlib.sha256(own["key"].encode()).hexdigest() in everywhere
    for secret in (own["key"], ADMIN_KEY):
        assert secret not in everywhere + told


def test_the_admin_key_is_compared_in_constant_time(
    context: ProducerContext, monkeypatch: pytest.MonkeyPatch
):
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for wrong in ("x", ADMIN_KEY[:-1], ADMIN_KEY, "y" * 5000):
        with pytest.raises(AccessError):
            context.access.caller(f"Bearer {wrong}")
    assert {(len(one), len(other)) for one, other in compared} == {(32, 32)}, "hashes, not keys"
    assert len(compared) == 4, "and nothing else decides"


def test_scopes_bound_what_a_key_may_do(api: httpx.Client):
    reader = bearer(key(api, scopes=["read"]))
    assert api.get("/v1/batches", headers=reader).status_code == 200
    denied = api.post("/v1/batches", content=b"{}", headers=reader)
    assert error_of(denied, 403)["code"] == "insufficient_scope"
    assert api.put("/v1/budget", json={"day_usd": 1}, headers=reader).status_code == 403
    assert api.post("/v1/keys", json={}, headers=reader).status_code == 403
    manager = bearer(key(api, scopes=["admin"]))
    assert api.get("/v1/keys", headers=manager).status_code == 200
    assert api.post("/v1/projects", json={"name": "x"}, headers=manager).status_code == 403
    assert error_of(api.post("/v1/keys", json={"scopes": ["root"]}), 400)["param"] == "scopes.0"


def test_a_revoked_or_expired_key_is_useless(api: httpx.Client, context: ProducerContext):
    own = key(api)
    assert api.get("/v1/batches", headers=bearer(own)).status_code == 200
    assert api.delete(f"/v1/keys/{own['id']}").json()["deleted"] is True
    error_of(api.get("/v1/batches", headers=bearer(own)), 401)
    assert error_of(api.delete("/v1/keys/key_none"), 404)["code"] == "key_not_found"


def test_requests_per_minute_are_held(api: httpx.Client):
    own = bearer(key(api, requests_per_minute=2))
    answers = [api.get("/v1/batches", headers=own) for _ in range(5)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited  # a new minute may begin in between, never two
    assert error_of(limited[0], 429)["code"] == "rate_limit_exceeded"
    assert int(limited[0].headers["retry-after"]) >= 1


def test_the_admin_key_acts_in_the_project_that_is_named(api: httpx.Client):
    assert api.post("/v1/projects", json={"name": "acme", "day_usd": "1.5"}).status_code == 200
    taken = api.post("/v1/projects", json={"name": "acme"})
    assert error_of(taken, 409)["code"] == "project_exists"
    assert error_of(api.post("/v1/projects", json={"name": "a b"}), 400)["param"] == "name"
    by_query = made(api, project="acme")
    assert by_query["promptmill"]["project"] == "acme"
    header = {"X-Promptmill-Project": "acme"}
    assert len(api.get("/v1/batches", headers=header).json()["data"]) == 1
    assert api.get("/v1/batches").json()["data"] == []
    assert error_of(submit(api, project="nobody"), 404)["code"] == "project_not_found"
    assert [row["id"] for row in api.get("/v1/projects").json()["data"]] == ["acme", "default"]


def test_the_budget_is_set_by_window_and_lifted_by_null(api: httpx.Client):
    budget = api.put("/v1/budget", json={"day_usd": "2.50", "total_usd": 10}).json()
    limits = {window["window"]: window["limit_nusd"] for window in budget["windows"]}
    assert limits == {"day": 2_500_000_000, "month": None, "total": 10_000_000_000}
    lifted = api.put("/v1/budget", json={"day_usd": None}).json()["windows"]
    assert [window["limit_nusd"] for window in lifted] == [None, None, 10_000_000_000]
    for wrong in ({"day_usd": -1}, {"day_usd": "x"}, {"day": 1}, {"day_usd": True}, {}):
        error_of(api.put("/v1/budget", json=wrong), 400)


def test_the_budget_tells_what_the_ledger_holds(api: httpx.Client, context: ProducerContext):
    assert context.ledger.begin_rebuild("a" * 32) is Rebuild.BEGUN
    epoch = context.ledger.finish_rebuild("a" * 32)
    scope = Scope(ScopeKind.TOTAL, "default")
    opened = context.ledger.open(epoch or "", scope, None, 700, {"b" * 32: 200})
    assert opened is Opening.OPENED
    budget = api.put("/v1/budget", json={"total_usd": "0.000001"}).json()
    total = budget["windows"][2]
    assert (total["spent_nusd"], total["reserved_nusd"]) == (700, 200)
    assert (total["limit_nusd"], total["remaining_nusd"]) == (1000, 100)


def test_webhook_endpoints_live_as_the_sdk_expects(api: httpx.Client):
    body = {"url": "http://127.0.0.1:9/a", "name": "n", "event_types": ["batch.completed"]}
    endpoint = api.post("/v1/webhook_endpoints", json=body).json()
    assert endpoint["signing_secret"].endswith(endpoint["signing_secret_hint"])
    where = f"/v1/webhook_endpoints/{endpoint['id']}"
    assert "signing_secret" not in api.get(where).json()
    assert api.post(where, json={"name": "m"}).json()["name"] == "m"
    rotated = api.post(f"{where}/rotate_secret", json={}).json()
    assert rotated["signing_secret"] != endpoint["signing_secret"]
    assert api.get(f"{where}/deliveries").json()["data"] == []
    again = api.post("/v1/webhook_endpoints", json=body)
    assert error_of(again, 409)["code"] == "endpoint_exists"
    forbidden = api.post("/v1/webhook_endpoints", json={"url": "http://169.254.169.254/"})
    assert error_of(forbidden, 400)["code"] == "forbidden_address"
    assert api.delete(where).json()["deleted"] is True
    assert error_of(api.get(where), 404)["code"] == "endpoint_not_found"
    gone = api.post("/v1/webhook_deliveries/whd_x/redeliver")
    assert error_of(gone, 404)["code"] == "delivery_not_found"
    assert "batch.completed" in api.get("/v1/webhook_event_types").json()["data"]


def test_models_and_providers_are_the_catalogs(api: httpx.Client, context: ProducerContext):
    listed = api.get("/v1/models").json()["data"]
    names = [model["id"] for model in listed if model["owned_by"] != "promptmill"]
    assert names == list(context.catalog.models)
    assert api.get(f"/v1/models/{names[0]}").json()["id"] == names[0]
    assert error_of(api.get("/v1/models/org/none"), 404)["code"] == "model_not_found"
    providers = api.get("/v1/providers").json()["data"]
    assert {row["id"] for row in providers} == set(context.catalog.providers)
    states = {row["id"]: row["state"] for row in providers}
    for name, state in states.items():
        assert state == ("unavailable" if name in context.catalog.unavailable else "healthy")


def test_a_route_is_decided_and_a_plan_estimated_without_sending(api: httpx.Client):
    decision = api.post("/v1/route", json={"prompt": "What is 2+2?", "custom_id": "q"}).json()
    assert decision["custom_id"] == "q"
    assert decision["model"] in str(decision["ladder"])
    wrong = api.post("/v1/route", json={"prompt": "x", "model": "gpt-99"})
    assert error_of(wrong, 400)["code"] == "model_not_found"
    plan = api.post("/v1/plan", content=b'{"prompt":"x"}\n{"prompt":"y"}\nbad\n').json()
    assert (plan["jobs"], plan["rejected"], plan["unpriced"]) == (2, 1, [])
    cost = plan["cost_nusd"]
    assert 0 < cost["p50"] <= cost["p95"] <= cost["worst"]
    assert sum(row["jobs"] for row in plan["models"]) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PATCH", "/v1/batches", 405), ("GET", "/v1/batches?limit=0", 400)],
)
def test_every_error_has_the_one_shape(api: httpx.Client, method: str, path: str, status: int):
    error_of(api.request(method, path), status)


def test_bad_json_and_too_large_bodies_are_refused(api: httpx.Client):
    headers = {"Content-Type": "application/json"}
    bad = api.post("/v1/projects", content=b"{", headers=headers)
    assert error_of(bad, 400)["code"] == "invalid_json"
    large = api.post("/v1/projects", content=b" " * 200_000, headers=headers)
    assert error_of(large, 413)["code"] == "request_too_large"


def test_an_unforeseen_failure_is_a_plain_500(
    api: httpx.Client, context: ProducerContext, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(type(context.results), "job", broken)
    response = api.get("/v1/jobs/job_1")
    assert error_of(response, 500)["type"] == "server_error"
    assert "secret" not in response.text


def test_a_request_id_of_the_client_is_kept_and_a_strange_one_replaced(api: httpx.Client):
    kept = api.get("/health/live", headers={"x-request-id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"
    replaced = api.get("/health/live", headers={"x-request-id": "a b\tc"})
    assert replaced.headers["x-request-id"].startswith("req_")


def test_health_tells_what_is_missing(api: httpx.Client):
    assert api.get("/health/ready").json()["checks"] == {"database": "ok", "redis": "ok"}
    assert api.get("/docs").status_code == 200


def test_a_wrong_method_is_told_all_the_right_ones(api: httpx.Client):
    refused = api.request("PATCH", "/v1/files")
    assert error_of(refused, 405)["code"] == "method_not_allowed"
    assert set(refused.headers["allow"].split(", ")) == {"GET", "POST"}
