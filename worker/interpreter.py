"""How Python runs in a worker's process: when it collects, and how long a thread's turn is."""

import gc
import sys
from typing import Final

_YOUNG_OBJECTS: Final = 100_000
"""Made before the collector looks. Ten jobs leave one object in a cycle; each look goes through all
that the jobs under way have made. Looking after every 700 objects, as Python does by itself, cost a
fifth of a worker's time, and after every 20,000 still a twentieth."""

_TURN_S: Final = 0.0005
"""How long a thread may keep the interpreter from another: at Python's 5 ms a commit waits for the
busy loop at each of its statements (measured in docs/performance.md)."""


def prepare() -> None:
    """Once everything is made. What was made for the start stays for ever: the collector need not
    go through it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)
    sys.setswitchinterval(_TURN_S)
