"""How a worker for batches lets others go first on the processor."""

import os
import time
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES, _PAUSE_S = 10, 0.11


def session_gives_way(niceness: int) -> None:
    """Let the programs of other sessions go before this one's. Linux shares the processor among
    sessions first (sched_autogroup(7)), and what `give_way` says counts only within one.

    Does nothing where others share this session (who is started from a terminal is in the
    shell's), where the kernel has no such groups, or where a sandbox forbids it.
    """
    if not niceness or os.getsid(0) != os.getpid():
        return
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(niceness))
        except BlockingIOError:  # the kernel takes one of these a tenth of a second, of anybody
            time.sleep(_PAUSE_S)
        except OSError:
            return
        else:
            return


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
