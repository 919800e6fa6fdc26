"""What processes cost: CPU seconds and memory by name, children included.

Counted from outside (psutil), over a span: start-up is not part of it. Of a process that ended in
between, the kernel still tells its parent's sum. Memory is the proportional set size, in which
pages shared by several processes count once, at its highest of all looks; beside it what is
resident (RSS), where each process has them in full.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

_LOOK_EVERY_S = 0.5
Roots = Callable[[], Mapping[str, list[psutil.Process]]]
"""The processes to count now, by the name they are counted under."""


@dataclass(slots=True)
class Cost:
    """What a span cost; filled in when it ends."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    resident_mb: dict[str, float] = field(default_factory=dict)

    def cpu_ms_per(self, jobs: int) -> dict[str, float]:
        """CPU-milliseconds a job, by process."""
        return {name: seconds * 1000 / jobs for name, seconds in self.cpu_s.items()}


@contextmanager
def counted(roots: Roots) -> Iterator[Cost]:
    """Count what these processes cost while the block runs."""
    cost = Cost()
    done = threading.Event()
    watcher = threading.Thread(target=_watch_memory, args=(roots, cost, done))
    before = _cpu(roots())
    watcher.start()
    try:
        yield cost
    finally:
        after = _cpu(roots())
        done.set()
        watcher.join()
        cost.cpu_s = {name: after[name] - before.get(name, 0.0) for name in after}


def _cpu(groups: Mapping[str, list[psutil.Process]]) -> dict[str, float]:
    return {name: sum(map(_cpu_of_tree, roots)) for name, roots in groups.items()}


def _cpu_of_tree(root: psutil.Process) -> float:
    total = 0.0
    for process in _tree(root):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _watch_memory(roots: Roots, cost: Cost, done: threading.Event) -> None:
    peaks_of = (cost.peak_mb, cost.resident_mb)
    while True:
        for name, processes in roots().items():
            found = [_pss_and_rss_mb(one) for root in processes for one in _tree(root)]
            for peaks, mbs in zip(peaks_of, zip(*found, strict=True), strict=False):
                peaks[name] = max(peaks.get(name, 0.0), sum(mbs))
        if done.wait(_LOOK_EVERY_S):
            return


def _pss_and_rss_mb(process: psutil.Process) -> tuple[float, float]:
    try:
        memory = process.memory_full_info()
    except psutil.Error:
        return 0.0, 0.0
    return getattr(memory, "pss", memory.uss) / 1e6, memory.rss / 1e6
