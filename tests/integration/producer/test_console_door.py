"""The console's door: who gets in, as whom, and what never gets in."""

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from zoneinfo import ZoneInfo

import httpx
import pytest
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import text

from producer.accounts.access import AccessError, digest_of
from producer.bootstrap import ProducerContext
from producer.console.desk import Desk
from producer.console.login import inside
from producer.console.session import LASTS_S, Reader, Sessions
from shared.db.repositories import alerts
from shared.errors import NotFoundError
from tests.integration.producer.conftest import ADMIN_KEY
from tests.integration.producer.finished import finish, number_of

COOKIE = "promptmill_session"
HTML = {"accept": "text/html"}
JSONL = {"content-type": "application/x-ndjson"}


@pytest.fixture
def visitor(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        yield client


def log_in(visitor: httpx.Client, key: str) -> httpx.Response:
    return visitor.post("/console/login", data={"key": key, "next": "/console/costs"})


def test_only_a_key_gets_in_and_its_session_is_a_signed_cookie_without_the_key(
    visitor: httpx.Client,
) -> None:
    asked = visitor.get("/console/batches/b_1?after=3", headers=HTML)
    assert (asked.status_code, asked.headers["location"]) == (
        303,
        "/console/login?next=/console/batches/b_1%3Fafter%3D3",
    )
    assert visitor.get("/console/_nicegui/x").status_code == 401
    assert log_in(visitor, "pm_wrong").status_code == 403
    assert log_in(visitor, "k" * 9000).status_code == 400
    assert COOKIE not in visitor.cookies

    entered = log_in(visitor, ADMIN_KEY)

    assert (entered.status_code, entered.headers["location"]) == (303, "/console/costs")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "Path=/console" in cookie
    assert "SameSite=lax" in cookie
    assert ADMIN_KEY not in cookie
    uploaded = visitor.post("/console/upload?name=a.jsonl", content=b'{"prompt": "x"}\n')
    assert (uploaded.status_code, uploaded.json()["purpose"]) == (200, "batch")
    assert "frame-ancestors 'none'" in uploaded.headers["content-security-policy"]
    refused = visitor.post("/console/upload?name=a.exe", content=b"x")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_file_format")


def test_a_forged_an_old_and_a_revoked_session_get_nobody_in(
    visitor: httpx.Client, api: httpx.Client, context: ProducerContext
) -> None:
    digest = digest_of(ADMIN_KEY)
    forged = URLSafeTimedSerializer("a guess", salt="session").dumps(digest)
    old = Sessions(ADMIN_KEY)._signer
    old.make_signer = _signing_at(old, time.time() - LASTS_S - 60)  # type: ignore[method-assign]
    made = api.post("/v1/keys", json={}).raise_for_status().json()
    log_in(visitor, made["key"])
    good = visitor.cookies[COOKIE]
    for cookie, status in ((good, 200), (forged, 401), (old.dumps(digest), 401), ("", 401)):
        visitor.cookies.clear()
        sent = {"cookie": f"{COOKIE}={cookie}"}
        answer = visitor.post("/console/upload?name=a.jsonl", content=b"x\n", headers=sent)
        assert answer.status_code == status, cookie
    api.delete(f"/v1/keys/{made['id']}").raise_for_status()
    late = visitor.post(
        "/console/upload?name=a.jsonl", content=b"x", headers={"cookie": f"{COOKIE}={good}"}
    )
    assert late.status_code == 401


def _signing_at(serializer: URLSafeTimedSerializer, moment: float) -> object:
    make = serializer.make_signer

    def made(salt: object = None) -> object:
        signer = make(salt)  # type: ignore[arg-type]
        signer.get_timestamp = lambda: int(moment)  # type: ignore[method-assign]
        return signer

    return made


def test_what_another_sites_page_sends_is_refused_whatever_its_cookie(
    visitor: httpx.Client,
) -> None:
    log_in(visitor, ADMIN_KEY)
    for origin in ("https://evil.example", "http://127.0.0.1:1", "null"):
        answer = visitor.post(
            "/console/upload?name=a.jsonl", content=b"x", headers={"origin": origin}
        )
        assert answer.status_code == 403, origin
    own = {"origin": str(visitor.base_url).rstrip("/")}
    assert visitor.post("/console/logout", headers=own).status_code == 303
    assert COOKIE not in visitor.cookies


def test_a_key_of_one_project_sees_and_does_nothing_in_another(
    api: httpx.Client, context: ProducerContext
) -> None:
    for name in ("ours", "theirs"):
        api.post("/v1/projects", json={"name": name}).raise_for_status()
    lines = {"content": b'{"prompt": "x"}\n', "headers": {"content-type": "application/x-ndjson"}}
    foreign = api.post("/v1/batches?project=theirs", **lines).raise_for_status().json()["id"]  # type: ignore[arg-type]
    made = api.post("/v1/keys", json={"project": "ours", "scopes": ["read"]}).json()
    reader = Reader(digest_of(made["key"]), math.inf, ZoneInfo("UTC"), None, "theirs")
    desk = Desk(context, reader, lambda: None)

    assert desk.batches(None)["data"] == []
    assert desk.projects() == ["ours"]
    for verb in (desk.batch, desk.report, desk.spending):
        with pytest.raises(NotFoundError):
            verb(foreign)
    with pytest.raises(AccessError, match="submit"):
        desk.cancel(foreign)
    with pytest.raises(AccessError, match="admin"):
        desk.set_budget("ours", {"day_usd": "1"})
    admin = Desk(
        context, Reader(digest_of(ADMIN_KEY), math.inf, ZoneInfo("UTC"), None, None), lambda: None
    )
    assert [batch["id"] for batch in admin.batches(None)["data"]] == [foreign]
    assert admin.cancel(foreign)["status"] == "cancelled"
    over = replace(admin, reader=replace(admin.reader, until=time.time() - 1))
    assert not over.is_open()
    with pytest.raises(AccessError, match="log in again"):
        over.batches(None)


def test_what_a_batch_cost_over_time_adds_up_to_what_it_cost(
    api: httpx.Client, context: ProducerContext
) -> None:
    lines = b"".join(b'{"prompt": "Question %d"}\n' % n for n in range(3))
    made = api.post(
        "/v1/batches", content=lines, headers={"content-type": "application/x-ndjson"}
    ).json()
    for line, cost in ((1, 1000), (2, 4000)):
        finish(context, made["id"], line, cost_nusd=cost)
    desk = Desk(
        context, Reader(digest_of(ADMIN_KEY), math.inf, ZoneInfo("UTC"), None, None), lambda: None
    )

    spans = desk.spending(made["id"])

    assert spans[0]["cost_nusd"] == 0
    assert sum(span["cost_nusd"] for span in spans) == 5000
    assert sum(span["attempts"] for span in spans) == 2
    moments = [span["at"] for span in spans]
    assert moments == sorted(moments)
    assert abs(moments[-1] - context.clock().timestamp()) < 60
    assert desk.report(made["id"])["total_cost_nusd"] == 5000


def test_held_jobs_are_told_by_the_limit_that_holds_them_to_its_project_only(
    api: httpx.Client, context: ProducerContext
) -> None:
    for name in ("ours", "theirs"):
        api.post("/v1/projects", json={"name": name}).raise_for_status()
    lines = {"content": b'{"prompt": "x"}\n{"prompt": "y"}\n', "headers": JSONL}
    capped = api.post("/v1/batches?project=ours", **lines).raise_for_status().json()["id"]  # type: ignore[arg-type]
    other = api.post("/v1/batches?project=theirs", **lines).raise_for_status().json()["id"]  # type: ignore[arg-type]
    hold = "UPDATE jobs SET status = 'held', held_scope = :scope, need_nusd = 5 WHERE id / 16777216"
    with context.database.transaction() as connection:
        for batch_id, scope in ((capped, f"batch:{capped}"), (other, "day:theirs:2026-11-21")):
            number = number_of(context, batch_id)
            connection.execute(text(f"{hold} = :number"), {"scope": scope, "number": number})

    assert context.budget.held("ours") == [
        {"project": "ours", "kind": "batch", "of": capped, "jobs": 2}
    ]
    every = {
        (row["project"], row["kind"], row["of"], row["jobs"]) for row in context.budget.held(None)
    }
    assert every == {("ours", "batch", capped, 2), ("theirs", "day", None, 2)}


@pytest.mark.parametrize(
    "path",
    ["https://evil.example/", "//evil.example", "/v1/batches", "/console\\evil", None,
     "/console/login", "/consolex", "/console/\r\nx"],
)  # fmt: skip
def test_a_login_leads_into_the_console_and_nowhere_else(path: str | None) -> None:
    assert inside(path) == "/console/"


def test_the_api_starts_without_what_draws_the_pages() -> None:
    asked = "import sys, producer.api.app; print('nicegui' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_the_pages_are_loaded_ahead_only_when_the_api_has_nothing_to_do() -> None:
    asked = """
import asyncio, sys
from producer.console import door

async def main():
    door._SETTLING_S = door._IDLE_S = 0.01
    pages, busy = door._Pages(), iter(range(20))
    pages.load_when_idle(lambda: next(busy, 19))
    while pages._warming is None:
        await asyncio.sleep(0)
    print(next(busy, "idle"))
    await pages._warming
    print('nicegui' in sys.modules)
    await pages.aclose()

asyncio.run(main())
"""
    run = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["idle", "True"]


def test_results_and_costs_are_downloaded_by_the_session_of_their_project_only(
    visitor: httpx.Client, api: httpx.Client, context: ProducerContext
) -> None:
    lines = b"".join(b'{"prompt": "Question %d"}\n' % n for n in range(3))
    batch = api.post("/v1/batches", content=lines, headers=JSONL).json()["id"]
    for line in (1, 2, 3):
        finish(context, batch, line)
    results = f"/console/download/batches/{batch}"
    assert visitor.get(f"{results}/jsonl").status_code == 401
    log_in(visitor, api.post("/v1/keys", json={"scopes": ["read"]}).json()["key"])

    kept = visitor.get(f"{results}/jsonl")
    assert kept.headers["content-disposition"] == f"attachment; filename*=UTF-8''{batch}.jsonl"
    assert kept.content == api.get(f"/v1/batches/{batch}/results").content
    assert len(visitor.get(f"{results}/csv").text.splitlines()) == 4
    costs = visitor.get("/console/download/costs?by=task_type").text.splitlines()
    assert costs[0].startswith("day,task_type,attempts")
    assert ",3,3,3000," in costs[1]
    for wrong, status in (
        (f"{results}/pdf", 404),
        ("/console/download/batches/batch_x/csv", 404),
        ("/console/download/costs?by=mood", 400),
        ("/console/download/costs?since=soon", 400),
    ):
        assert visitor.get(wrong).status_code == status, wrong
    api.post("/v1/projects", json={"name": "theirs"}).raise_for_status()
    key = api.post("/v1/keys", json={"project": "theirs"}).json()["key"]
    log_in(visitor, key)
    assert visitor.get(f"{results}/jsonl").status_code == 404
    assert visitor.get("/console/download/costs").text == ""


def test_alerts_are_told_to_their_project_and_to_who_sees_all(
    api: httpx.Client, context: ProducerContext
) -> None:
    api.post("/v1/projects", json={"name": "ours"}).raise_for_status()
    now = context.clock()
    row = {"kind": "k", "severity": "warning", "since": now, "told": {}, "tell_at": now}
    matters = (("a", "ours", now, None), ("b", None, now, None), ("c", "default", now, None),
               ("new", "ours", None, None), ("over", "ours", now, now))  # fmt: skip
    with context.database.transaction() as connection:
        for key, project, raised, gone in matters:
            more = {"key": key, "project_id": project, "raised_at": raised, "gone_since": gone}
            alerts.add(connection, {**row, **more, "message": key})
    made = api.post("/v1/keys", json={"project": "ours", "scopes": ["read"]}).json()

    def told(key: str) -> list[str]:
        reader = Reader(digest_of(key), math.inf, ZoneInfo("UTC"), None, None)
        return sorted(row["message"] for row in Desk(context, reader, lambda: None).alerts())

    assert told(made["key"]) == ["a"]
    assert told(ADMIN_KEY) == ["a", "b", "c"]
