"""How Python runs in a process that is busy for long: when it collects, how long a turn lasts."""

import gc
import sys
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


def prepare(young_objects: int, turn_s: float = TURN_S) -> None:
    """Once everything is made. What was made for the start stays for ever: the collector need not
    go through it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young_objects, 20, 20)
    sys.setswitchinterval(turn_s)
