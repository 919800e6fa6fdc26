"""What all processes of this machine have counted, added up from the files they post.

A process that has ended leaves its files; they are added to one of those that have ended, so that
totals never fall and the folder does not grow. A reader that is killed between the two steps counts
one process twice, which figures for watching may.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from shared.tallies import ALIVE

_ENDED: Final = "ended"
_KINDS: Final = ("counter", "histogram")


class ProcessFigures(Collector):
    """Reads the folder anew at each `collect`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register this reads nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families that any process has counted; none where nothing was posted yet."""
        if not self._folder.is_dir():
            return
        with _one_reader(self._folder):
            self._add_up_the_dead()
            files = sorted(map(str, self._folder.glob("*.db")))
            metrics = list(MultiProcessCollector.merge(files, accumulate=True))
        yield from sorted(metrics, key=lambda metric: metric.name)

    def _add_up_the_dead(self) -> None:
        files = sorted(self._folder.glob("*.db"), key=_ident)
        for ident, of_process in groupby(files, _ident):
            if ident != _ENDED and self._is_dead(ident):
                for file in of_process:
                    self._keep(file)
                    file.unlink()
                (self._folder / (ident + ALIVE)).unlink(missing_ok=True)

    def _is_dead(self, ident: str) -> bool:
        """The kernel lets go of a process's lock when it ends, however it ends."""
        try:
            lock = os.open(self._folder / (ident + ALIVE), os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(lock)

    def _keep(self, file: Path) -> None:
        kind = file.name.partition("_")[0]
        if kind not in _KINDS:
            return  # a level: the dead have none
        kept = self._folder / f"{kind}_{_ENDED}.db"
        both = [str(path) for path in (kept, file) if path.exists()]
        anew = kept.with_suffix(".new")
        anew.unlink(missing_ok=True)
        sums = MmapedDict(str(anew))
        for metric in MultiProcessCollector.merge(both, accumulate=False):
            for sample in metric.samples:
                names, values = list(sample.labels), list(sample.labels.values())
                key = mmap_key(metric.name, sample.name, names, values, metric.documentation)
                sums.write_value(key, sample.value, 0.0)
        sums.close()
        anew.rename(kept)


def _ident(file: Path) -> str:
    return file.stem.rpartition("_")[2]


@contextmanager
def _one_reader(folder: Path) -> Iterator[None]:
    """Of several API processes one at a time, so that nobody sees the dead twice."""
    with (folder / "reader.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
