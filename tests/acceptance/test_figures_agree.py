"""One amount, many places: API, command line, console, metrics, database, the providers' own bill.

What a page of the console draws of its desk's figures is looked at in `test_console`.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Select, func, select

from producer import bootstrap
from producer.accounts.access import digest_of
from producer.bootstrap import ProducerContext
from producer.cli.main import run_command
from producer.console.desk import Desk
from producer.console.session import Reader
from producer.reporting.analytics import Period
from shared.db.tables import attempts, results, spend, usage
from shared.settings import Settings
from tests.acceptance.whole_mill import PATIENCE_S, WholeMill

pytestmark = pytest.mark.slow

Figures = dict[str, dict[tuple[tuple[str, str], ...], float]]


def scraped(mill: WholeMill) -> Figures:
    found: Figures = defaultdict(dict)
    text = mill.http.get("/metrics").raise_for_status().text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return found


def summed(context: ProducerContext, *queries: "Select[tuple[int | None]]") -> list[int]:
    with context.database.reading() as connection:
        return [int(connection.execute(query).scalar_one() or 0) for query in queries]


@pytest.fixture
def context(mill: WholeMill, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProducerContext]:
    """The mill's own home, database and Redis, seen from this process."""
    for name, value in mill.env.items():
        monkeypatch.setenv(name, value)
    context = bootstrap.build(Settings(_env_file=None))
    yield context
    context.close()


def said(capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command says, run in this process: a process of its own takes ten times as long."""
    capfd.readouterr()
    assert run_command([*words, "--json"]) == 0, words
    return json.loads(capfd.readouterr().out)


def test_every_place_tells_the_same_nano_dollars(
    mill: WholeMill, context: ProducerContext, capfd: pytest.CaptureFixture[str]
) -> None:
    weak = [{"match": {"model": "tiny", "contains": "odd"}, "fault": "weak"}]
    lost = [{"match": {"contains": "lost"}, "fault": "garbage"}]
    mill.simulator.set_scenario({"latency_ms": 5, "rules": [*weak, *lost]})
    project = mill.project()
    said(capfd, "budget", "set", "--project", project, "--total", "5")
    before = scraped(mill)
    lines = [
        {"prompt": f"What is {n} + {n}? {('odd', 'even')[n % 2]}", "max_tokens": 50 + n}
        for n in range(12)
    ]
    lines.append({"prompt": "This one is lost.", "max_tokens": 50})
    batch = said(capfd, "submit", mill.file(lines), "--project", project)
    ended = mill.ended(batch["id"])["promptmill"]

    cost, unconfirmed = ended["cost_nusd"], ended["unconfirmed_nusd"]
    assert cost > unconfirmed > 0
    calls = mill.simulator.calls()
    assert sum(call["cost_nusd"] for call in calls if call["outcome"] != "garbage") == (
        cost - unconfirmed
    )
    report = said(capfd, "report", batch["id"])
    assert (report["total_cost_nusd"], report["unconfirmed_nusd"]) == (cost, unconfirmed)
    assert sum(row["cost_nusd"] for row in report["by_model"]) == cost
    assert said(capfd, "status", batch["id"])["cost_nusd"] == cost
    told_lines = mill.http.get(f"/v1/batches/{batch['id']}/results").text.splitlines()
    assert sum(json.loads(line)["cost_nusd"] for line in told_lines) == cost

    mine = {"project": project}
    for group in ("day", "model", "provider", "project", "purpose", "task_type"):
        answer = mill.http.get("/v1/analytics/usage", params={**mine, "group_by": group}).json()
        assert sum(row["cost_nusd"] for row in answer["data"]) == cost, group
    by_task_type = {row["task_type"]: row["cost_nusd"] for row in report["by_task_type"]}
    told = mill.http.get("/v1/analytics/usage", params={**mine, "group_by": "task_type"}).json()
    assert {row["task_type"]: row["cost_nusd"] for row in told["data"]} == by_task_type

    assert_the_console_says_so(mill, context, project, batch["id"], cost)

    windows = said(capfd, "budget", "show", "--project", project)["windows"]
    assert {window["spent_nusd"] for window in windows} == {cost}
    assert {window["reserved_nusd"] for window in windows} == {0}

    assert_the_database_says_so(context, project, cost)

    told_by_metrics = scraped(mill)
    for window in ("day", "month", "total"):
        place = (("project", project), ("window", window))
        assert told_by_metrics["promptmill_spent_nusd"][place] == cost
        assert told_by_metrics["promptmill_unconfirmed_nusd"][place] == unconfirmed
    (limited,) = [
        row
        for row in said(capfd, "top")["budgets"]
        if row["project"] == project and row["window"] == "total"
    ]
    assert (limited["spent_nusd"], limited["left_nusd"]) == (cost, 5_000_000_000 - cost)

    # What processes count arrives within a second or two, and is of everybody.
    made = summed(
        context, select(func.count()).select_from(attempts).where(attempts.c.project_id == project)
    )[0]
    deadline = time.monotonic() + PATIENCE_S
    while counted(told_by_metrics) - counted(before) < made:
        assert time.monotonic() < deadline, told_by_metrics["promptmill_attempts_total"]
        time.sleep(0.2)
        told_by_metrics = scraped(mill)
    climbs = told_by_metrics["promptmill_escalations_total"]
    assert sum(climbs.values()) >= report["escalations"]["climbs"] > 0
    saved = saved_once_summed(mill, project)
    assert saved["cost_nusd"] == cost
    assert saved["always_strongest_nusd"] == report["always_strongest_nusd"]
    assert_the_terminal_says_so(capfd, project, cost)


def assert_the_terminal_says_so(capfd: pytest.CaptureFixture[str], project: str, cost: int) -> None:
    here = ("--project", project)
    for words in (
        ("usage",),
        ("savings", "--by", "tier,model"),
        ("models",),
        ("requests", "--limit", "50"),
    ):
        rows = said(capfd, "analytics", *words, *here)["data"]
        assert sum(row["cost_nusd"] for row in rows) == cost, words
    assert run_command(["analytics", "hints", *here, "--csv"]) == 0


def assert_the_console_says_so(
    mill: WholeMill, context: ProducerContext, project: str, batch: str, cost: int
) -> None:
    reader = Reader(digest_of(mill.admin_key), math.inf, ZoneInfo("UTC"), None, project)
    desk = Desk(context, reader, lambda: None)
    today = Period.read(None, None, context.clock())
    assert desk.report(batch)["total_cost_nusd"] == cost
    assert desk.batch(batch)["promptmill"]["cost_nusd"] == cost
    assert sum(span["cost_nusd"] for span in desk.spending(batch)) == cost
    assert sum(row["cost_nusd"] for row in desk.usage(today, ("model",))) == cost
    assert {window["spent_nusd"] for window in desk.budget(project)["windows"]} == {cost}


def assert_the_database_says_so(context: ProducerContext, project: str, cost: int) -> None:
    for_project = attempts.c.project_id == project
    assert (
        summed(
            context,
            select(func.sum(attempts.c.cost_nusd)).where(for_project),
            select(func.sum(usage.c.cost_nusd)).where(usage.c.project_id == project),
            select(func.sum(spend.c.spent_nusd)).where(
                spend.c.project_id == project, spend.c.kind == "total"
            ),
            select(func.sum(results.c.cost_nusd)).where(
                results.c.job_id.in_(select(attempts.c.job_id).where(for_project))
            ),
        )
        == [cost] * 4
    )


def counted(figures: Figures) -> float:
    return sum(figures["promptmill_attempts_total"].values())


def saved_once_summed(mill: WholeMill, project: str) -> dict[str, int]:
    """The project's savings, once the maintenance has summed up its batch."""
    deadline = time.monotonic() + PATIENCE_S
    where = {"project": project, "group_by": "project"}
    while not (rows := mill.http.get("/v1/analytics/savings", params=where).json()["data"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return dict(rows[0])
