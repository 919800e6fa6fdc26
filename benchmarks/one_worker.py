"""`python -m benchmarks.one_worker [JOBS] [sqlite|postgresql]`: the CPU of one worker, by thread.

The worker's own objects in this process, on a durable database and a real Redis-compatible server;
Celery, the API and the maintenance are left out. For looking into the hot path: run it under a
profiler, or two trees of it alternately. The table that counts is `python -m benchmarks`.
"""

import gc
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import migrations
from benchmarks.load import write_catalog, write_jsonl
from benchmarks.surroundings import durable_postgres, responder
from producer import bootstrap as producing
from producer.options import Options
from shared import interpreter
from shared.chunking import chunks_of
from shared.clock import utc_now
from shared.db.repositories import projects
from shared.domain.job import job_id_of
from shared.settings import Settings
from tests.servers.valkey import ValkeyServer
from worker import bootstrap

_WARM_UP = 500
_LATENCY_MS = 100
_PROJECT = "bench"


def measure(settings: Settings, file: Path, warm_up: Path, jobs: int) -> dict[str, float]:
    """CPU-milliseconds a job by thread, and the seconds by the clock under "wall, s"."""
    numbers = [(_submitted(settings, path), lines) for path, lines in _lots(file, warm_up, jobs)]
    process = bootstrap.build(settings, node="bench")
    interpreter.prepare(interpreter.IN_A_WORKER)
    try:
        with ThreadPoolExecutor(settings.worker_threads, "chunk") as threads:
            for number, lines in numbers:
                gc.collect()
                before, began = _cpu_s_by_thread(), time.perf_counter()
                ids = (job_id_of(number, line) for line in range(1, lines + 1))
                chunks = chunks_of(ids, settings.chunk_size)
                done = sum(threads.map(process.runner.run, list(chunks)))
                after, wall_s = _cpu_s_by_thread(), time.perf_counter() - began
                if done != lines:
                    raise RuntimeError(f"only {done} of {lines} jobs were done")
    finally:
        process.close()
    spent = {name: after[name] - before.get(name, 0.0) for name in after}
    return {name: 1000 * s / jobs for name, s in spent.items()} | {"wall, s": wall_s}


def _lots(file: Path, warm_up: Path, jobs: int) -> Iterator[tuple[Path, int]]:
    yield write_jsonl(warm_up, _WARM_UP), _WARM_UP
    yield write_jsonl(file, jobs), jobs


def _submitted(settings: Settings, file: Path) -> int:
    context = producing.build(settings)
    try:
        with context.spool() as spool:
            spool.write(file.read_bytes())
            return context.submission.submit(spool, Options(_PROJECT)).batch.number
    finally:
        context.database.close()


def _cpu_s_by_thread() -> Mapping[str, float]:
    """CPU seconds of each kind of thread; what has no name in Python is "other"."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    spent: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        name = names.get(int(task.name), "other").partition("_")[0]
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        spent[name] = spent.get(name, 0.0) + nanoseconds / 1e9
    return spent


@contextmanager
def _settings(folder: Path, kind: str) -> Iterator[Settings]:
    broker = ValkeyServer()
    broker.start()
    try:
        with responder(folder) as url:
            catalog = write_catalog(folder / "catalog.toml", f"{url}/{_LATENCY_MS}/v1")
            given = {"home": folder / "home", "redis_url": broker.url, "catalog": catalog}
            if kind == "sqlite":
                yield Settings(_env_file=None, **given)
                return
            with durable_postgres() as server:
                database_url = server.url(server.create_database())
                yield Settings(_env_file=None, database_url=database_url, **given)
    finally:
        broker.remove()


def main() -> int:
    """The command."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000
    kind = sys.argv[2] if len(sys.argv) > 2 else "sqlite"
    with tempfile.TemporaryDirectory(prefix="pmb-") as name, _settings(Path(name), kind) as made:
        folder = Path(name)
        made.home_dir.mkdir(parents=True, exist_ok=True)
        migrations.upgrade(made.resolved_database_url)
        context = producing.build(made)
        with context.database.transaction() as connection:
            projects.create(connection, _PROJECT, utc_now())
        context.database.close()
        figures = measure(made, folder / "jobs.jsonl", folder / "warm-up.jsonl", jobs)
    wall_s = figures.pop("wall, s")
    for thread, cpu_ms in sorted(figures.items(), key=lambda item: -item[1]):
        print(f"{thread:12} {cpu_ms:.3f} CPU-ms a job")
    print(f"{'all':12} {sum(figures.values()):.3f} CPU-ms a job, {jobs / wall_s:,.0f} jobs/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
