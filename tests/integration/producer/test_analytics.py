"""Looking back over HTTP: the figures are the cost rows' own, and a project sees its own only."""

import csv
import io
import json
from typing import Any

import httpx
import pytest

from producer.bootstrap import ProducerContext
from producer.reporting import history
from producer.watching import provider_use
from tests.integration.producer.finished import finish

JSONL = {"Content-Type": "application/x-ndjson"}


def submit(api: httpx.Client, count: int, project: str = "default") -> str:
    lines = "\n".join(
        json.dumps({"prompt": f"Question {n}", "custom_id": f"c{n}"}) for n in range(1, count + 1)
    )
    answer = api.post("/v1/batches", content=lines, headers=JSONL, params={"project": project})
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["id"]
    return made


def get(api: httpx.Client, path: str, **params: Any) -> dict[str, Any]:
    answer = api.get(path, params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
def worked(api: httpx.Client, context: ProducerContext) -> list[str]:
    """Two batches: three answers at 1000, and an attempt that may have been billed at 5000."""
    first, second = submit(api, 3), submit(api, 2)
    finish(context, first, 1)
    finish(context, first, 3)
    finish(context, second, 1)
    error = {"code": "timeout", "message": "no answer in time"}
    finish(context, second, 2, error=error, cost_nusd=5000)
    return [first, second]


def test_usage_is_the_sum_of_the_cost_rows(
    api: httpx.Client, context: ProducerContext, worked: list[str]
) -> None:
    (day,) = get(api, "/v1/analytics/usage")["data"]
    assert day["day"] == f"{context.clock():%Y-%m-%d}"
    assert (day["attempts"], day["answered"]) == (4, 3)
    assert (day["cost_nusd"], day["unconfirmed_nusd"]) == (8000, 5000)
    assert day["cost_usd"] == "0.000008"
    assert (day["input_tokens"], day["cached_tokens"], day["output_tokens"]) == (40, 8, 20)
    reports = [get(api, f"/v1/batches/{batch}/report") for batch in worked]
    assert sum(report["total_cost_nusd"] for report in reports) == day["cost_nusd"]
    (model,) = get(api, "/v1/analytics/models")["data"]
    assert (model["model"], model["provider"], model["cost_nusd"]) == ("m-cheap", "p", 8000)
    grouped = get(api, "/v1/analytics/usage", group_by="project,purpose")["data"]
    assert [(g["project"], g["purpose"], g["attempts"]) for g in grouped] == [
        ("default", "answer", 4)
    ]
    assert (
        get(api, "/v1/analytics/usage", **{"from": "2020-01-01", "to": "2020-12-31"})["data"] == []
    )


def test_usage_comes_as_a_table_too(api: httpx.Client, worked: list[str]) -> None:
    answer = api.get("/v1/analytics/usage", params={"format": "csv", "group_by": "model"})
    assert answer.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["model"], row["cost_nusd"]) == ("m-cheap", "8000")


def test_requests_are_paged_from_the_newest_and_filtered(
    api: httpx.Client, worked: list[str]
) -> None:
    seen: list[tuple[str, str]] = []
    after = None
    while True:
        page = get(api, "/v1/analytics/requests", limit=2, **({"after": after} if after else {}))
        seen += [(r["batch_id"], r["custom_id"]) for r in page["data"]]
        if not page["has_more"]:
            break
        after = page["last_id"]
    first, second = worked
    assert seen == [(second, "c2"), (second, "c1"), (first, "c3"), (first, "c1")]
    (failed,) = get(api, "/v1/analytics/requests", status="failed")["data"]
    assert (failed["custom_id"], failed["cost_nusd"]) == ("c2", 5000)
    story = get(api, f"/v1/jobs/{failed['id']}")
    assert story["id"] == failed["id"]
    assert get(api, "/v1/analytics/requests", model="another")["data"] == []


def test_stats_count_jobs_and_money(api: httpx.Client, worked: list[str]) -> None:
    stats = get(api, "/v1/stats", project="default")
    assert (stats["batches"], stats["jobs"]["total"], stats["jobs"]["completed"]) == (2, 5, 3)
    assert stats["usage"]["cost_nusd"] == 8000


def test_another_project_sees_nothing_of_it(api: httpx.Client, worked: list[str]) -> None:
    api.post("/v1/projects", json={"name": "other"})
    key = api.post("/v1/keys", json={"project": "other"}).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=api.base_url, headers=headers, trust_env=False) as stranger:
        assert get(stranger, "/v1/analytics/usage")["data"] == []
        assert get(stranger, "/v1/analytics/requests")["data"] == []
        assert get(stranger, "/v1/stats")["jobs"]["total"] == 0
        after = get(api, "/v1/analytics/requests", limit=1)["data"][0]["id"]
        assert get(stranger, "/v1/analytics/requests", after=after)["data"] == []


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "from"),
        ({"group_by": "mood"}, "group_by"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    api: httpx.Client, params: dict[str, str], named: str
) -> None:
    answer = api.get("/v1/analytics/usage", params=params)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, named)
    wrong = api.get("/v1/analytics/requests", params={"after": "batch_1"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "after")


def test_requests_are_found_by_what_they_say_and_by_their_custom_id(
    api: httpx.Client, context: ProducerContext
) -> None:
    prompts = ["How deep is the Öresund?", 'Say "hush"\nand 100 %', "Another user's role", "Deep"]
    lines = [{"prompt": prompt, "custom_id": f"Row-{n}"} for n, prompt in enumerate(prompts)]
    body = "\n".join(map(json.dumps, lines))
    batch: str = api.post("/v1/batches", content=body, headers=JSONL).json()["id"]
    older = submit(api, 1)
    for line in range(1, len(lines) + 1):
        finish(context, batch, line)
    finish(context, older, 1)

    def found(**params: Any) -> list[str]:
        told = get(api, "/v1/analytics/requests", **params)
        assert not told["has_more"]
        return [row["custom_id"] for row in told["data"]]

    assert found(search="DEEP") == ["Row-3", "Row-0"]
    assert found(search="Öresund?") == ["Row-0"]
    assert found(search='"hush"\nand') == ["Row-1"]
    assert found(search="0 %") == ["Row-1"]
    assert found(search="row-2") == ["Row-2"]
    assert found(search="user") == ["Row-2"]  # in the words, not in the names of fields
    assert found(search="_") == found(search="messages") == []
    assert found(search="deep", status="failed") == []
    assert found(search="question", batch_id=batch) == []
    assert found(batch_id=older) == ["c1"]
    assert found(to="2020-01-01") == []
    assert len(found(to=f"{context.clock():%Y-%m-%d}")) == 5
    paged = get(api, "/v1/analytics/requests", search="deep", limit=1)
    assert paged["has_more"]
    assert found(search="deep", after=paged["last_id"]) == ["Row-0"]
    for wrong in ({"batch_id": "batch_x"}, {"to": "soon"}, {"search": ""}):
        assert api.get("/v1/analytics/requests", params=wrong).status_code in {400, 404}


def test_a_search_that_finds_little_stops_and_goes_on_where_it_was(
    api: httpx.Client, context: ProducerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_LOOK_S", -1.0)  # the time is over after each part
    monkeypatch.setattr(history, "_GROUP_JOBS", 3)
    batches = [submit(api, count) for count in (1, 8, 2)]
    for batch, count in zip(batches, (1, 8, 2), strict=True):
        for line in range(1, count + 1):
            finish(context, batch, line)
    seen, looked, after = [], [], None
    reader = history.History(context.database)
    for search in (None, "question 1", "nothing"):
        while True:
            page = reader.page(None, history.Wanted(search=search, after=after), 100)
            seen += [(row["batch_id"], row["line"]) for row in page.requests]
            looked.append(page.looked)
            after = page.after
            if after is None:
                break
    first, second, third = batches
    lines = [(third, 2), (third, 1), *((second, n) for n in range(8, 0, -1)), (first, 1)]
    assert seen == [*lines, (third, 1), (second, 1), (first, 1)]
    assert max(looked[-5:]) <= 3
    assert sum(looked[-5:]) >= 11


def test_the_admin_sees_how_much_of_a_providers_limits_is_used(
    api: httpx.Client, context: ProducerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(context.catalog.providers))
    batch = submit(api, 3)
    for line in (1, 2, 3):
        finish(context, batch, line, asked={"model": "m", "provider": name, "tier": "cheap"})
    idle = {"calls_in_flight": 0, "requests_per_minute": 0, "tokens_per_minute": 0}

    used = {row["id"]: row["use"] for row in get(api, "/v1/providers")["data"]}

    assert used.pop(name) == {
        "calls_in_flight": 0,
        "requests_per_minute": 3,
        "tokens_per_minute": 45,
        "keys_in_use": 1,
    }
    assert all(use == {**idle, "keys_in_use": 0} for use in used.values())
    monkeypatch.setattr(provider_use, "_READ", 3)  # three calls within a moment: far more a minute
    busy = provider_use.provider_use(context.database, context.clock)[name]
    assert busy.requests > 100
    assert busy.tokens == pytest.approx(15 * busy.requests, rel=0.01)
    key = api.post("/v1/keys", json={}).json()["key"]
    told = api.get("/v1/providers", headers={"Authorization": f"Bearer {key}"}).json()["data"]
    assert {row["use"] for row in told} == {None}
