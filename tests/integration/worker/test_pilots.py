"""A pilot's lines are asked of every tier, judged, and the rest of the batch follows."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import update

from producer.reporting.report import report
from shared.chunking import parse_ranges
from shared.clock import utc_now
from shared.db.repositories import batch_plans
from shared.db.repositories import batches as batch_rows
from shared.db.tables import batches
from shared.domain.attempt import Purpose
from shared.queue.messages import ChunkMessage
from tests.mill import Mill, asking, running_mill
from tests.servers.simulator import SimulatorServer
from worker.maintenance.job_stager import JobStager
from worker.maintenance.pilot_judge import PilotJudge

KIND = "simple_qa/easy"
FORECAST = {"cost_nusd": {"p50": 1, "p95": 2, "worst": 3}, "cost_usd": {}, "models": [],
            "unroutable": 0, "seconds": 1.0}  # fmt: skip


class Sent:
    """A queue that keeps what is sent."""

    def __init__(self) -> None:
        self.chunks: list[ChunkMessage] = []

    def publish(self, messages: Sequence[ChunkMessage], *_: object) -> None:
        self.chunks += messages

    def depths(self) -> dict[str, int]:
        raise AssertionError("nothing was lost")

    def lines(self) -> list[int]:
        lines = [n for chunk in self.chunks for n in parse_ranges(chunk.lines, limit=100)]
        self.chunks = []
        return lines


def piloted(mill: Mill, count: int, lines: int) -> list[int]:
    """A batch whose first lines are its pilot."""
    ids = mill.batch([asking(f"What is {n} + {n}?") for n in range(1, count + 1)])
    pilot = {
        "lines": {str(line): KIND for line in range(1, lines + 1)},
        "clusters": {KIND: {"mid": count}},
        "max_quality_loss": None,
    }
    with mill.database.transaction() as connection:
        batch_plans.add(connection, mill.number, FORECAST, utc_now())
        wanted = update(batches).where(batches.c.number == mill.number)
        connection.execute(wanted.values(pilot=batch_rows.PILOT_WANTED))
        batch_plans.begin_pilot(connection, mill.number, pilot)
    return ids


def test_every_tier_is_asked_and_the_rest_follows_the_cheapest_that_does(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        ids = piloted(mill, 40, 24)
        sent, judge = Sent(), PilotJudge(mill.database)
        stager = JobStager(mill.database, sent, chunk_size=100)
        stager.run_once(utc_now())
        assert sent.lines() == list(range(1, 25))
        assert judge.run_once(utc_now()) == 0

        mill.worker.runner.run(ids[:24])
        for line in (1, 24):
            own = [row for row in mill.attempts() if row.job_id == ids[line - 1]]
            assert [row.tier for row in own] == ["cheap", "mid", "high"]
            assert [row.purpose for row in own] == [Purpose.JUDGE, Purpose.JUDGE, Purpose.ANSWER]
        assert {(row.tier, row.climbs) for row in mill.results()} == {("high", 0)}

        assert [judge.run_once(utc_now()) for _ in range(2)] == [1, 0]
        stager.run_once(utc_now())
        assert sent.lines() == list(range(25, 41))
        mill.worker.runner.run(ids[24:])
        rest = [row for row in mill.results() if row.job_id > ids[23]]
        assert {row.tier for row in rest} == {"cheap"}

        told = report(mill.database, mill.the_batch())
        (choice,) = told["pilot"]["choices"]
        assert (choice["cluster"], choice["tier"], choice["lines"]) == (KIND, "cheap", 24)
        assert told["pilot"]["cost_nusd"] > told["pilot"]["extra_nusd"] > 0
        assert told["pilot"]["saved_nusd"] + told["pilot"]["extra_nusd"] > 0
        assert told["escalations"]["climbs"] == 0
        assert told["status"] == "completed"


def test_a_pilot_that_does_not_end_is_judged_by_what_there_is(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        ids = piloted(mill, 12, 4)
        judge = PilotJudge(mill.database)
        mill.worker.runner.run(ids[:2])
        assert judge.run_once(utc_now()) == 0
        later = mill.the_batch().in_progress_at
        assert judge.run_once(later.replace(year=later.year + 1)) == 1
        with mill.database.reading() as connection:
            pilot = batch_plans.pilot_of(connection, mill.number)
        assert (pilot["judged"], pilot["choices"]) == (2, [])
