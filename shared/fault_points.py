"""Named lines where a crash matters: tests arm one in a real process, which then dies there.

`PROMPTMILL_FAULT_POINT="after_intent"` kills the process (SIGKILL) the first time it gets there,
`"after_intent:3"` the third time, `"after_intent:3:stop"` stops it (SIGSTOP), `":exit"` ends it
without any clean-up. Read once at import; unset, a marker is one comparison. What survives at
each point and who repairs it stands in docs/failure_modes.md.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Final

VARIABLE: Final = "PROMPTMILL_FAULT_POINT"
EXIT_CODE: Final = 70


class FaultPoint(StrEnum):
    """Every marker, in the order in which an upload and a job meet them, then the maintenance's."""

    AFTER_SPOOLING = "after_spooling"
    AFTER_BATCH_ROW = "after_batch_row"
    BEFORE_FILE_ROW = "before_file_row"
    AFTER_FILE_ROW = "after_file_row"
    BEFORE_FILE_BATCH_COMMIT = "before_file_batch_commit"
    AFTER_FILE_BATCH = "after_file_batch"
    AFTER_INTAKE_CLAIM = "after_intake_claim"
    AFTER_BLOCK = "after_block"
    AFTER_START = "after_start"
    BEFORE_SEAL_COMMIT = "before_seal_commit"
    AFTER_SEAL = "after_seal"

    AFTER_READ = "after_read"
    AFTER_CLAIM = "after_claim"
    AFTER_RESERVE = "after_reserve"
    BEFORE_INTENT_COMMIT = "before_intent_commit"
    AFTER_INTENT = "after_intent"
    AFTER_CONFIRM = "after_confirm"
    AFTER_REQUEST = "after_request"
    AFTER_ANSWER = "after_answer"
    BEFORE_RECORDING = "before_recording"
    BEFORE_RECORDING_COMMIT = "before_recording_commit"
    AFTER_RECORDING = "after_recording"
    AFTER_SETTLE = "after_settle"
    BEFORE_ACK = "before_ack"
    IN_REBUILD = "in_rebuild"

    AFTER_STAGE_MARK = "after_stage_mark"
    BEFORE_RESCUE_COMMIT = "before_rescue_commit"
    AFTER_RESCUE = "after_rescue"
    BEFORE_RELAY_COMMIT = "before_relay_commit"
    AFTER_DELIVERY_CLAIM = "after_delivery_claim"
    AFTER_DELIVERY = "after_delivery"


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    # Sent to this thread: sent to the process, another thread may take it, and this one runs on.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _exit() -> None:
    os._exit(EXIT_CODE)


_ACTIONS: Final[Mapping[str, Callable[[], None]]] = {"kill": _kill, "stop": _stop, "exit": _exit}


@dataclass(frozen=True, slots=True)
class Armed:
    """What happens where: `action` at the `nth` time (from 1) that `point` is reached."""

    point: FaultPoint
    nth: int = 1
    action: str = "kill"
    _times: "count[int]" = field(default_factory=lambda: count(1), compare=False)

    @classmethod
    def parse(cls, text: str) -> "Armed":
        """Read `name[:nth][:action]`; raises ValueError for what is none."""
        name, *rest = text.split(":")
        action = rest.pop() if rest and not rest[-1].isdecimal() else "kill"
        if len(rest) > 1 or action not in _ACTIONS:
            raise ValueError(f"{VARIABLE}: not name[:nth][:kill|stop|exit]: {text!r}")
        nth = int(rest[0]) if rest else 1
        if nth < 1:
            raise ValueError(f"{VARIABLE}: the first time is 1")
        return cls(FaultPoint(name), nth, action)

    def reached(self) -> None:
        """Count, and act when it is time. Counting is atomic: threads may come at once."""
        if next(self._times) == self.nth:
            sys.stderr.write(f"fault point {self.point.value}: {self.action}\n")
            sys.stderr.flush()
            _ACTIONS[self.action]()


_ARMED: Final = Armed.parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def reach(point: FaultPoint) -> None:
    """The process is at this point; nothing happens unless it was armed."""
    if _ARMED is not None and _ARMED.point is point:
        _ARMED.reached()
