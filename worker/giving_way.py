"""How a worker for batches lets others go first on the processor."""

import os
from contextlib import suppress


def give_way(niceness: int) -> None:
    """Let others go before this thread and those it makes; on Linux, where it may, they also take
    the processor as they wake. Elsewhere the whole process gives way.

    On SQLite for the loop alone, which does nearly all of a process's work: a thread that writes
    and waits for the processor holds up all others with the one write lock in its hand.
    """
    if niceness and hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.nice(niceness)
