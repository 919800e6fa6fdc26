"""`python -m benchmarks.flowing`: how full the places are while a batch runs, by what it runs on.

Each pace of the provider (see `benchmarks.responder`) on each database with each number of worker
processes: the rate of the whole batch, the rate sustained, and the share of places in use (see
`benchmarks.flow`). Several `--jobs` are run one after the other on the same mill: what a job costs
and the memory should be alike.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import product
from pathlib import Path

import orjson

from benchmarks.ours import Run, flow_figures, promptmill
from benchmarks.report import columns
from benchmarks.surroundings import database_url, responder


def _runs(given: argparse.Namespace, folder: Path, url: str) -> Iterator[tuple[str, Run]]:
    for database, pace, workers in product(given.databases, given.paces, given.workers):
        name = f"{database}, {pace} ms, {workers} x {given.in_flight}"
        with ExitStack() as stack:
            at = stack.enter_context(database_url(database))
            place = folder / name.replace(" ", "")
            provider = f"{url}/{pace}/v1"
            made = promptmill(place, at, provider, workers, given.in_flight)
            mill = stack.enter_context(made)
            for jobs in given.jobs:
                run = mill.run(jobs, watched=True)
                title = f"{name}, {jobs:,} jobs"
                print(f"{title}: {asdict(run)}", file=sys.stderr, flush=True)
                yield title, run


def table(runs: Sequence[tuple[str, Run]]) -> str:
    """A line a run."""
    heads = ("", *flow_figures(runs[0][1]), "CPU-ms a job", "MB, workers", "resident", "MB in all")
    rows = [heads]
    for title, run in runs:
        figures = [f"{value:,.2f}" for value in flow_figures(run).values()]
        told = (run.peak_mb["workers"], run.resident_mb["workers"], sum(run.peak_mb.values()))
        memory = (f"{mb:,.0f}" for mb in told)
        rows.append((title, *figures, f"{run.total_cpu_ms:.2f}", *memory))
    return columns(rows)


def main() -> int:
    """Run and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", nargs="+", type=int, default=[10_000])
    parser.add_argument("--paces", nargs="+", default=["200", "200x2"])
    parser.add_argument("--workers", nargs="+", type=int, default=[2], help="worker processes")
    parser.add_argument("--in-flight", type=int, default=256, help="calls, each worker")
    parser.add_argument(
        "--databases", nargs="+", choices=("sqlite", "postgres"), default=["sqlite", "postgres"]
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pmf-"))
    try:
        with responder(folder) as url:
            runs = list(_runs(given, folder, url))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    given.out.mkdir(parents=True, exist_ok=True)
    told = {title: asdict(run) for title, run in runs}
    (given.out / "flow.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    print(table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
