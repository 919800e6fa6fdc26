"""Promptmill as it is deployed: real processes, a file submitted over HTTP, everything on.

Classification, routing, a budget in three windows, intents, cost rows, results, events for Flower,
structured logs. What is counted is all processes together but the provider, from the first byte
of the submission to the batch's end.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import func, select

from benchmarks.flow import Flow, flow, looks_of
from benchmarks.load import write_catalog, write_jsonl
from benchmarks.process_cost import counted
from producer.client.sync import Promptmill
from producer.local.mill import Mill, MillOptions, running_mill
from shared.db.engine import Database
from shared.db.repositories import batches
from shared.db.tables import batches as batch_table
from shared.db.tables import jobs, results
from shared.domain.job import TERMINAL
from shared.settings import Settings

_WARM_UP = 300
_LOOK_S = 0.005
# What of a command line tells whose process it is; the first that fits.
_MARKS = (
    ("-n interactive", "interactive worker"),
    ("-n batch", "workers"),
    ("producer.api", "api"),
    ("worker.maintenance", "maintenance"),
    ("flower", "flower"),
    ("valkey", "valkey"),
    ("redis", "valkey"),
    ("postgres", "postgres"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One measured batch. wall_s: from the seal to the end, as the batch's row tells. limit: calls
    in flight at most. flow: None where nobody watched. resident_mb: beside the proportional one.
    """

    jobs: int
    wall_s: float
    cpu_ms: Mapping[str, float]
    peak_mb: Mapping[str, float]
    limit: int
    flow: Flow | None = None
    resident_mb: Mapping[str, float] = field(default_factory=dict)

    @property
    def jobs_per_s(self) -> float:
        """Jobs a second, ramp and tail included."""
        return self.jobs / self.wall_s

    @property
    def total_cpu_ms(self) -> float:
        """CPU-milliseconds a job of all processes together."""
        return sum(self.cpu_ms.values())


@contextmanager
def promptmill(
    folder: Path,
    database_url: str,
    provider_url: str,
    workers: int,
    limit: int,
    provider: str = "",
    *,
    more: str = "",
) -> Iterator["Ours"]:
    """A running Promptmill with a warmed-up worker; `limit` is calls in flight a worker, `provider`
    more lines about the provider in the catalog, `more` what else stands there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    catalog = write_catalog(folder / "catalog.toml", provider_url, provider, more)
    settings = Settings(
        _env_file=None, home=folder / "home", database_url=database_url, catalog=catalog
    )
    settings.home_dir.mkdir(parents=True, exist_ok=True)
    env = {
        "PROMPTMILL_MAX_IN_FLIGHT": str(limit),
        # Part of starting, which is not measured: the API does it when it first idles.
        "PROMPTMILL_CONSOLE_AHEAD": "false",
    }
    options = MillOptions(port=0, flower_port=0, workers=workers, simulator=False, env=env)
    with (
        running_mill(settings, options, lambda _: None) as mill,
        Promptmill(mill.api_url, mill.key) as client,
    ):
        client.set_budget(day_usd="1000", month_usd="5000", total_usd="9000")
        database = Database(settings.resolved_database_url)
        ours = Ours(mill, client, database, folder, provider_url, workers * limit)
        ours.run(_WARM_UP)
        yield ours
        database.close()


class Ours:
    """Batches on a running Promptmill."""

    def __init__(
        self,
        mill: Mill,
        client: Promptmill,
        database: Database,
        folder: Path,
        provider_url: str,
        limit: int,
    ) -> None:
        self.mill = mill
        self.client = client
        self.folder = folder
        self._database = database
        self._responder = provider_url.rsplit("/", 2)[0]
        self._limit = limit

    def run(self, jobs: int, *, watched: bool = False) -> Run:
        """Run a batch to its end. watched: the provider is the responder, and tells its flow."""
        file = write_jsonl(self.folder / "prompts.jsonl", jobs)
        with counted(roots) as cost:
            batch = self.client.wait(self.client.submit(file, start="complete").id)
        sealed_at, ended_at = self._span(batch.id, jobs)
        seen = flow(looks_of(self._responder), sealed_at, ended_at, jobs) if watched else None
        cpu_ms = cost.cpu_ms_per(jobs)
        wall_s = ended_at - sealed_at
        return Run(jobs, wall_s, cpu_ms, cost.peak_mb, self._limit, seen, cost.resident_mb)

    def first_answer(self, lines: int, start: str) -> tuple[float, float]:
        """Seconds from the beginning of a submission to its first answer, and to its own: of a
        file whose jobs may begin `early`, or once it is `complete`. The rest is called off.
        """
        file = write_jsonl(self.folder / "long.jsonl", lines)
        before = max((number for number, _ in self._newest(None)), default=0)
        with ThreadPoolExecutor(1) as pool:
            taken_in: list[float] = []
            began = time.perf_counter()
            submitted = pool.submit(self.client.submit, file, start=start)
            submitted.add_done_callback(lambda _: taken_in.append(time.perf_counter() - began))
            while not any(answered for _, answered in self._newest(before)):
                time.sleep(_LOOK_S)
            first_s = time.perf_counter() - began
            batch_id = submitted.result().id
        self.client.cancel(batch_id)
        self.client.wait(batch_id)
        return first_s, taken_in[0]

    def _newest(self, after: int | None) -> Sequence[tuple[int, int]]:
        """The newest batch beyond a number, if any, with how many of its jobs were answered."""
        newest = select(batch_table.c.number, batch_table.c.completed)
        newest = newest.order_by(batch_table.c.number.desc()).limit(1)
        if after is not None:
            newest = newest.where(batch_table.c.number > after)
        with self._database.reading() as connection:
            return [(row.number, row.completed) for row in connection.execute(newest)]

    def export_lines_per_s(self, jobs: int) -> float:
        """Result lines a second of the newest batch, over HTTP."""
        batch = next(iter(self.client.batches(1)))
        began = time.perf_counter()
        with Path(os.devnull).open("wb") as sink:
            self.client.write_results(batch.id, sink)
        return jobs / (time.perf_counter() - began)

    def ends(self, batch_id: str) -> tuple[int, int, int]:
        """Lines of a batch, those in an end state, and result rows: as the tables tell."""
        with self._database.reading() as connection:
            row = batches.get(connection, batch_id)
            if row is None:
                raise RuntimeError(f"there is no batch {batch_id}")
            span = batches.id_range(row.number)
            of_batch = jobs.c.id.between(*span)
            ended = of_batch & jobs.c.status.in_(list(TERMINAL))
            asked = [
                select(func.count()).select_from(table).where(condition)
                for table, condition in (
                    (jobs, of_batch),
                    (jobs, ended),
                    (results, results.c.job_id.between(*span)),
                )
            ]
            lines, over, told = (int(connection.execute(one).scalar_one()) for one in asked)
        return lines, over, told

    def _span(self, batch_id: str, jobs: int) -> tuple[float, float]:
        with self._database.reading() as connection:
            row = batches.get(connection, batch_id)
        if row is None or row.completed != jobs:
            raise RuntimeError(f"not all of {jobs} jobs were answered")
        return row.in_progress_at.timestamp(), row.completed_at.timestamp()


def flow_figures(run: Run) -> dict[str, float]:
    """What a watched run's flow comes to, by what each figure says."""
    if run.flow is None:
        raise ValueError("nobody watched this run")
    return {
        "jobs/s of the whole batch": run.jobs_per_s,
        "jobs/s sustained": run.flow.sustained_per_s,
        "places in use, %": 100 * run.flow.in_flight / run.limit,
        "s, seal to first call": run.flow.to_first_call_s,
        "s, last answer to end": run.flow.to_end_s,
    }


def roots() -> dict[str, list[psutil.Process]]:
    """Our processes by what they are."""
    groups: dict[str, list[psutil.Process]] = {}
    for child in psutil.Process().children():
        try:
            line = " ".join(child.cmdline())
        except psutil.Error:
            continue
        for mark, name in _MARKS:
            if mark in line:
                groups.setdefault(name, []).append(child)
                break
    return groups
