"""How Python runs in a process that is busy for long: when it collects, how long a turn lasts, what
it loads and where its memory comes from.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

IN_A_WORKER: Final = 100_000
"""Objects made before the collector looks. Ten jobs leave one object in a cycle; each look goes
through all that the jobs under way have made. Looking after every 700 objects, as Python does by
itself, cost a fifth of a worker's time, and after every 20,000 still a twentieth."""

IN_THE_API: Final = 20_000
"""The same: three blocks of an upload's lines, or some hundred requests. Python's own looks were an
eighth of an upload's time."""

TURN_S: Final = 0.0005
SHORT_TURN_S: Final = 0.0001
"""How long a thread may keep the interpreter from another: at Python's 5 ms a commit waits for the
busy loop at each of its statements. The short one where all wait for that commit, on SQLite; it
costs more than it brings on PostgreSQL (measured in docs/performance.md)."""


_ARENA_MAX: Final = -8
"""What glibc's mallopt(3) calls M_ARENA_MAX."""


def share_one_heap() -> None:
    """Among all threads; before there are any. glibc gives each a heap of its own, so that they
    need not wait for each other's allocations. Here they wait for the interpreter anyway, and the
    room in sixty heaps made a worker 30 MB larger. Other C libraries have nothing of the kind.
    """
    allocator = getattr(ctypes.CDLL(None), "mallopt", None)
    if allocator is not None and "MALLOC_ARENA_MAX" not in os.environ:
        allocator(_ARENA_MAX, 1)


@contextmanager
def as_if_not_installed(*modules: str) -> Iterator[None]:
    """What is imported inside finds these modules missing, and does without as it would where they
    are. For libraries that a process has no use for and others load where they are installed.
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # Python's own sign
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def prepare(young_objects: int, turn_s: float = TURN_S) -> None:
    """Once everything is made. What was made for the start stays for ever: the collector need not
    go through it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young_objects, 20, 20)
    sys.setswitchinterval(turn_s)
