"""How a worker for batches lets others go first on the processor."""

import os
from contextlib import suppress


def give_way(niceness: int) -> None:
    """Let others go before this thread and those it makes; on Linux, where it may, they also take
    the processor as they wake. Elsewhere the whole process gives way.

    For the loop, which does nearly all of a process's work. The threads that write do not: who
    waits for the processor with a lock of the database in its hand holds up all others.
    """
    if niceness and hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.nice(niceness)
