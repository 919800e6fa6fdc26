"""What a process counts of its own work, and where it posts that for whoever scrapes.

Counting is adding to a plain number: no lock, no file, a fraction of a microsecond. Once a second
what has changed is written to files of the process's own, in a folder that all processes of a
machine share and the API reads (the format of prometheus_client's multi-process mode). A killed
process loses its last second; so money is never counted here, it is read from the database.

A set of labels of one family is counted by one thread. Labels are names from the catalog, paths of
routes and words of ours, so there are only so many of them.
"""

import asyncio
import fcntl
import os
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

import structlog
from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

log = structlog.get_logger(__name__)

PREFIX: Final = "promptmill_"
ALIVE: Final = ".alive"
"""Ending of the file that a process keeps locked while it lives."""

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Bounds of a few milliseconds up to what the slowest models take."""

_FILE_BYTES: Final = 512 * 1024
"""Taken up when a file is made: some 2,500 figures. A disk that is full later harms nobody then."""
_PUBLISH_EVERY_S: Final = 1.0
_LOOKS: Final = 4

Labels = tuple[str, ...]
Kind = Literal["counter", "histogram", "gauge"]


class Figure(NamedTuple):
    """One number of a family, under its full name."""

    name: str
    labels: Labels
    values: Labels
    number: float


class Tally(Protocol):
    """A family of figures of one name."""

    name: str
    about: str
    kind: Kind

    def figures(self) -> Iterator[Figure]:
        """All that was counted up to now."""


class Count:
    """How often something happened."""

    kind: Kind = "counter"

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self.name = PREFIX + name
        self.about = about
        self._labels = labels
        # What has no labels is shown from the start: from nothing to one no rate can be told.
        self._counted: dict[Labels, int] = {} if labels else {(): 0}

    def add(self, *values: str, by: int = 1) -> None:
        """Once more, or so many times."""
        self._counted[values] = self._counted.get(values, 0) + by

    def figures(self) -> Iterator[Figure]:
        """One a set of labels."""
        name = self.name + "_total"
        for values, number in tuple(self._counted.items()):
            yield Figure(name, self._labels, values, number)


class Spread:
    """How long something took, by classes of seconds."""

    kind: Kind = "histogram"

    def __init__(
        self, name: str, about: str, *labels: str, bounds: Sequence[float] = SECONDS
    ) -> None:
        self.name = PREFIX + name
        self.about = about
        self._labels = labels
        self._bounds = tuple(bounds)
        self._names = (*map(floatToGoString, self._bounds), "+Inf")
        self._taken: dict[Labels, list[float]] = {}

    def take(self, seconds: float, *values: str) -> None:
        """Once, so long."""
        cells = self._taken.get(values)
        if cells is None:
            cells = self._taken[values] = [0] * (len(self._names) + 1)
        cells[bisect_left(self._bounds, seconds)] += 1
        cells[-1] += seconds

    def figures(self) -> Iterator[Figure]:
        """Each class by itself, not those below it, then the sum of seconds."""
        labels = (*self._labels, "le")
        for values, cells in tuple(self._taken.items()):
            *counts, total = cells
            for bound, count in zip(self._names, counts, strict=True):
                yield Figure(f"{self.name}_bucket", labels, (*values, bound), count)
            yield Figure(f"{self.name}_sum", self._labels, values, total)


class Level:
    """How much of something there is now; `read` is asked whenever figures are."""

    kind: Kind = "gauge"

    def __init__(self, name: str, about: str, read: Callable[[], float]) -> None:
        self.name = PREFIX + name
        self.about = about
        self._read = read

    def figures(self) -> Iterator[Figure]:
        """The one figure."""
        yield Figure(self.name, (), (), self._read())


def loop_lag(process: str) -> Spread:
    """What `keep_posted` measures of its event loop; `process` is the kind that has it."""
    about = f"How much later than due a {process} process' event loop runs what is due"
    return Spread(f"{process}_loop_lag_seconds", about)


class Posting:
    """The files of one process. Without a folder that can be written nothing is posted, which is
    logged once: no work stops for want of figures.
    """

    def __init__(self, folder: Path, tallies: Sequence[Tally]) -> None:
        self._tallies = tallies
        self._written: dict[tuple[str, Labels], tuple[str, float]] = {}
        self._files: dict[str, MmapedDict] = {}
        self._ident = secrets.token_hex(8)
        self._lock: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / (self._ident + ALIVE), os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            for kind in sorted({tally.kind for tally in tallies}):
                self._files[kind] = _make_file(folder, kind, self._ident)
        except OSError as error:
            log.warning("this process' figures are not posted", reason=error.strerror)
            self.close()

    def publish(self) -> None:
        """Write what has changed."""
        if not self._files:
            return
        for tally in self._tallies:
            file = self._files[tally.kind]
            for figure in tally.figures():
                self._write(file, tally, figure)

    def close(self) -> None:
        """Publish for the last time. What was counted stays for the reader to add up."""
        self.publish()
        for file in self._files.values():
            file.close()
        self._files = {}
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write(self, file: MmapedDict, tally: Tally, figure: Figure) -> None:
        name, labels, values, number = figure
        known = self._written.get((name, values))
        if known is None:
            key = mmap_key(tally.name, name, list(labels), list(values), tally.about)
        elif known[1] == number:
            return
        else:
            key = known[0]
        file.write_value(key, number, 0.0)
        self._written[name, values] = key, number


class OwnFigures(Collector):
    """The figures of this process alone, for one that is scraped by itself."""

    def __init__(self, tallies: Sequence[Tally]) -> None:
        self._tallies = tallies

    def collect(self) -> Iterator[Metric]:
        """All families of which something was counted."""
        for tally in self._tallies:
            metric = Metric(tally.name, tally.about, tally.kind)
            below: dict[Labels, float] = {}
            for name, labels, values, number in tally.figures():
                shown = number
                if name.endswith("_bucket"):
                    shown = below[values[:-1]] = below.get(values[:-1], 0) + number
                elif values in below:
                    metric.add_sample(
                        tally.name + "_count", dict(zip(labels, values, strict=True)), below[values]
                    )
                metric.add_sample(name, dict(zip(labels, values, strict=True)), shown)
            yield metric


async def keep_posted(posting: Posting, lag: Spread) -> None:
    """Publish every second and watch how late this event loop is, until cancelled."""
    loop = asyncio.get_running_loop()
    pause = _PUBLISH_EVERY_S / _LOOKS
    while True:
        for _ in range(_LOOKS):
            due = loop.time() + pause
            await asyncio.sleep(pause)
            lag.take(max(0.0, loop.time() - due))
        posting.publish()


def _make_file(folder: Path, kind: str, ident: str) -> MmapedDict:
    # Gauges of the living are added up; the name says so to prometheus_client's reader.
    prefix = "gauge_livesum" if kind == "gauge" else kind
    path = folder / f"{prefix}_{ident}.db"
    unnamed = path.with_suffix(".new")  # whoever reads sees no file that is half made
    with unnamed.open("wb") as made:
        os.posix_fallocate(made.fileno(), 0, _FILE_BYTES)
    file = MmapedDict(str(unnamed))
    unnamed.rename(path)
    return file
