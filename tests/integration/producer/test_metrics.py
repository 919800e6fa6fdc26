"""GET /metrics: the figures are those of the database and the broker, and the admin key's alone."""

import json
import re
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from producer.bootstrap import ProducerContext
from shared.budget.windows import periods
from shared.clock import utc_now
from shared.db.repositories import gauges
from shared.db.tables import outbox, projects, spend
from shared.domain.batch import Priority
from shared.domain.inference import JsonObject
from shared.queue.lanes import lane_queue
from shared.queue.messages import ChunkMessage
from shared.tallies import Posting
from worker.figures import MaintenanceFigures, WorkerFigures

JSONL = {"Content-Type": "application/x-ndjson"}
MONITORING = Path(__file__).parents[3] / "monitoring"
Figures = dict[tuple[str, ...], float]


def scrape(api: httpx.Client) -> dict[str, Figures]:
    """Families by name: values by their labels' values, sorted by the labels' names."""
    answer = api.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        family.name.removeprefix("promptmill_"): {
            tuple(sample.labels[name] for name in sorted(sample.labels)): sample.value
            for sample in family.samples
        }
        for family in text_string_to_metric_families(answer.text)
    }


def test_what_waits_and_what_is_spent_is_shown(api: httpx.Client, context: ProducerContext) -> None:
    lines = "\n".join(json.dumps({"prompt": f"Question {n}", "model": "auto"}) for n in range(25))
    assert api.post("/v1/batches", content=lines, headers=JSONL).status_code == 200
    context.publisher.publish([ChunkMessage("batch_1", 1, "1-25")], "default", Priority.BATCH)
    api.put("/v1/budget", json={"total_usd": "2"})
    now = utc_now()
    day, month = periods(now)
    with context.database.transaction() as connection:
        for kind, period in (("day", day), ("month", month), ("total", ""), ("day", "1999-01-01")):
            row = {"kind": kind, "period": period, "spent_nusd": 7_000_000_001}
            connection.execute(insert(spend).values(project_id="default", **row))
        event = {"id": "evt_1", "project_id": "default", "type": "batch.completed", "data": {}}
        late = now - timedelta(hours=1)
        connection.execute(insert(outbox).values(created_at=late, **event))
    seen = scrape(api)
    assert seen["queue_chunks"][(lane_queue("default", Priority.BATCH),)] == 1
    assert sum(seen["queue_chunks"].values()) == 1
    assert seen["batches_open"] == {("batch", "in_progress"): 1}
    assert seen["spent_nusd"] == {
        ("default", window): 7_000_000_001 for window in ("day", "month", "total")
    }
    assert seen["budget_limit_nusd"] == {("default", "total"): 2_000_000_000}
    assert seen["budget_left_nusd"] == {("default", "total"): -5_000_000_001}
    assert seen["outbox_events"] == {(): 1}
    assert seen["outbox_lag_seconds"][()] >= 3600
    assert seen["webhook_lag_seconds"] == {(): 0}
    assert seen["source_up"] == {("database",): 1, ("broker",): 1, ("redis",): 1}


def test_of_many_projects_those_that_spend_the_most_are_told_and_the_others_added_up(
    context: ProducerContext,
) -> None:
    now = utc_now()
    day, month = periods(now)
    made = [
        {"id": f"p{n}", "created_at": now, "routing": {}, "day_limit_nusd": 10 if n == 1 else None}
        for n in range(1, 6)
    ]
    kinds = (("day", day), ("month", month), ("month", "1999-01"), ("total", ""))
    with context.database.transaction() as connection:
        connection.execute(insert(projects), made)
        for n in range(2, 6):
            for kind, period in kinds:
                row = {"project_id": f"p{n}", "kind": kind, "period": period, "spent_nusd": 10**n}
                connection.execute(insert(spend).values(**row))
    with context.database.reading() as connection:
        few = gauges.windows(connection, day, month, most=2)
        everyone = gauges.windows(connection, day, month, most=9)
    spent = {(row.project_id, row.kind): row.spent_nusd for row in few}
    kinds_told = ("day", "month", "total")
    assert spent == {
        **{("p5", kind): 10**5 for kind in kinds_told},
        **{("p4", kind): 10**4 for kind in kinds_told},
        **{(gauges.OTHERS, kind): 1100 for kind in kinds_told},
    }
    assert all(isinstance(amount, int) for amount in spent.values())
    limits = {row.project_id: (row.limit_nusd, row.spent_nusd) for row in everyone}
    assert limits["p1"] == (10, 0)  # limited, and nothing spent yet
    assert {row.project_id for row in everyone} == {f"p{n}" for n in range(1, 6)}


def test_a_projects_own_key_does_not_see_them(api: httpx.Client) -> None:
    body = {"project": "default", "scopes": ["admin"]}
    key = api.post("/v1/keys", json=body).json()["key"]
    refused = api.get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert refused.status_code == 403
    assert api.get("/metrics", headers={"Authorization": ""}).status_code == 401


def test_the_rest_is_shown_when_a_source_is_gone(
    api: httpx.Client, context: ProducerContext
) -> None:
    context.redis.connection_pool.connection_kwargs["path"] = "/nowhere/at-all"
    context.redis.connection_pool.disconnect()
    seen = scrape(api)
    assert seen["source_up"][("database",)] == 1
    assert seen["source_up"][("redis",)] == 0
    assert "provider_keys" not in seen


class Deaf:
    """Listens to a stream and remembers nothing."""

    def say(self, choices: Sequence[JsonObject]) -> None:
        """It was told."""

    async def until_gone(self) -> None:
        """It is gone."""


def asked_for(file: Path) -> list[str]:
    """The expressions of a dashboard's panels or of the alerts."""
    if file.suffix == ".json":
        panels = json.loads(file.read_text())["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]
    (group,) = yaml.safe_load(file.read_text())["groups"]
    return [rule["expr"] for rule in group["rules"]]


@pytest.mark.parametrize("name", ["alerts.yml", "grafana/dashboards/promptmill.json"])
def test_dashboards_and_alerts_ask_for_what_there_is(
    api: httpx.Client, context: ProducerContext, name: str
) -> None:
    api.get("/v1/models")
    # The API posts what it counted every second; a worker and the maintenance beside it:
    worker, maintenance = WorkerFigures(), MaintenanceFigures()
    worker.timed(Deaf(), "openai").say([])
    worker.sent()
    worker.ended("openai", "luna", "answer", 0.1, None)
    worker.climbed("cheap", "mid")
    worker.waited(0.2, is_awaited=True)
    worker.moved("completed")
    maintenance.repaired("job_rescuer", 1)
    maintenance.stumbled("job_rescuer")
    maintenance.delivered(1.0)
    postings = []
    for figures in (worker, maintenance):
        figures.lag.take(0.001)
        postings.append(Posting(context.settings.metrics_dir, figures.tallies))
        postings[-1].publish()
    deadline = time.monotonic() + 20
    while "http_requests" not in (shown := scrape(api).keys()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for posting in postings:
        posting.close()
    expressions = asked_for(MONITORING / name)
    asked = {
        re.sub("_(total|bucket)$", "", word)
        for text in expressions
        for word in re.findall(r"promptmill_(\w+)", text)
    }
    assert asked
    assert asked <= shown
