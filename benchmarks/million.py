"""`python -m benchmarks.million`: large batches submitted, run for a while and cancelled.

The question is whether memory grows with the batch: the table tells each process's highest
proportional set size in each phase, for a small, a large and a very large batch, each on a mill of
its own. Beside it: what cancelling takes, how long others wait for it (the slowest answer to a look
at the batch meanwhile, and ten jobs of another batch), and whether every line ended once.

The jobs that run are bounded (`--run`): running half a million takes longer than it teaches.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from benchmarks.load import write_jsonl
from benchmarks.ours import Ours, promptmill, roots
from benchmarks.process_cost import counted
from benchmarks.surroundings import database_url, responder
from producer.client.answers import ApiError, Batch

PHASES = ("submit", "run", "cancel")
_PACE_MS = 50
_IN_FLIGHT = 256
_LOOK_EVERY_S = 0.2
_LOOK_EVERY_S_A_LINE = 1e-5


@dataclass(slots=True)
class Story:
    """One batch. `peak_mb` by phase and process; `looks_s`: answers to GET while cancelling."""

    database: str
    lines: int
    peak_mb: dict[str, Mapping[str, float]] = field(default_factory=dict)
    cpu_s: dict[str, Mapping[str, float]] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)
    cancel_answer_s: float = 0.0
    beside_s: float = 0.0
    looks_s: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Drama:
    """A batch on a running mill."""

    def __init__(self, mill: Ours, folder: Path, story: Story) -> None:
        self._mill = mill
        self._folder = folder
        self._story = story

    def play(self, run: int) -> Story:
        """Submit, run so many jobs, cancel, look until the last line has ended."""
        file = write_jsonl(self._folder / "million.jsonl", self._story.lines)
        with self._phase("submit"):
            batch = self._mill.client.submit(file, start="complete")
        file.unlink()
        with self._phase("run"):
            batch = self._until(batch, lambda now: now.counts.completed >= run)
        with self._phase("cancel"):
            began = time.monotonic()
            batch = self._cancelled(batch)
            self._story.cancel_answer_s = time.monotonic() - began
            self._story.beside_s = self._seconds_of_ten_jobs()
            batch = self._until(batch, lambda now: now.is_over, self._story.looks_s)
        self._story.counts = asdict(batch.counts)
        self._check(batch)
        return self._story

    def _seconds_of_ten_jobs(self) -> float:
        began = time.monotonic()
        lines = [{"prompt": f"What is {n} and one?", "max_tokens": 9} for n in range(10)]
        self._mill.client.wait(self._mill.client.submit(lines).id)
        return time.monotonic() - began

    def _cancelled(self, batch: Batch) -> Batch:
        try:
            return self._mill.client.cancel(batch.id)
        except ApiError:
            return self._mill.client.batch(batch.id)  # a small one may be over by now

    def _check(self, batch: Batch) -> None:
        lines, ended, results = self._mill.ends(batch.id)
        if not batch.is_over or not lines == ended == results == self._story.lines:
            raise RuntimeError(f"{lines} lines, {ended} ended, {results} results: {batch}")

    def _until(
        self, batch: Batch, is_enough: Callable[[Batch], bool], looks_s: list[float] | None = None
    ) -> Batch:
        while not is_enough(batch):
            time.sleep(min(_LOOK_EVERY_S, self._story.lines * _LOOK_EVERY_S_A_LINE))
            began = time.monotonic()
            batch = self._mill.client.batch(batch.id)
            if looks_s is not None:
                looks_s.append(time.monotonic() - began)
        return batch

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        with counted(roots) as cost:
            yield
        self._story.wall_s[name] = time.monotonic() - began
        self._story.peak_mb[name] = cost.peak_mb
        self._story.cpu_s[name] = cost.cpu_s
        took = f"{self._story.wall_s[name]:.1f} s"
        _say(f"{self._story.database}, {self._story.lines:,} lines: {name} took {took}")


def table(stories: Sequence[Story]) -> str:
    """The memory of each process by phase, a column a batch; then what cancelling took."""
    heads = [f"{story.database} {story.lines:,}" for story in stories]
    rows = [("MB at most", *heads)]
    for name in sorted({name for story in stories for name in story.peak_mb["cancel"]}):
        for phase in PHASES:
            cells = (f"{story.peak_mb[phase].get(name, 0.0):,.0f}" for story in stories)
            rows.append((f"{name}, {phase}", *cells))
    rows += [
        (f"seconds to {phase}", *(f"{story.wall_s[phase]:,.1f}" for story in stories))
        for phase in PHASES
    ]
    rows += [
        (
            f"CPU seconds to {phase}",
            *(f"{sum(story.cpu_s[phase].values()):,.1f}" for story in stories),
        )
        for phase in PHASES
    ]
    rows += [
        (f"jobs {name}", *(f"{story.counts[name]:,}" for story in stories))
        for name in ("completed", "cancelled")
    ]
    rows.append(("s to answer cancel", *(f"{story.cancel_answer_s:.2f}" for story in stories)))
    rows.append(("s, ten jobs of another batch meanwhile", *(f"{s.beside_s:.2f}" for s in stories)))
    slowest = (f"{max(story.looks_s, default=0.0):.2f}" for story in stories)
    rows.append(("s, slowest look while cancelling", *slowest))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def stories(options: argparse.Namespace, folder: Path, provider: str) -> Iterator[Story]:
    """Each size on each database."""
    for database in options.databases:
        for lines in options.lines:
            with database_url(database) as url:
                place = folder / f"{database}-{lines}"
                with promptmill(place, url, provider, options.workers, _IN_FLIGHT) as mill:
                    drama = Drama(mill, place, Story(database, lines))
                    yield drama.play(min(options.run, lines // 2))
            shutil.rmtree(place, ignore_errors=True)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million")
    parser.add_argument("--lines", nargs="+", type=int, default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--run", type=int, default=20_000, help="jobs answered before the end")
    parser.add_argument(
        "--databases", nargs="+", choices=("sqlite", "postgres"), default=["sqlite", "postgres"]
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pmm-"))
    try:
        with responder(folder) as url:
            made = list(stories(options, folder, f"{url}/{_PACE_MS}/v1"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.out.mkdir(parents=True, exist_ok=True)
    told = orjson.dumps([asdict(story) for story in made], option=orjson.OPT_INDENT_2)
    (options.out / "million.json").write_bytes(told)
    print(table(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
