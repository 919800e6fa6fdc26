"""What a worker tells, while it happens, to whoever waits for an interactive job: frames on a
Redis channel of the job's batch.

Nothing here has to arrive. The database holds the answer before its end is told; a waiter that
missed a frame (Redis was lost, a connection broke) reads it there. A frame also asks: the number of
listeners that Redis returns tells the worker whether anybody still waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shared.domain.inference import JsonObject

_PREFIX: Final = "{promptmill}:live:"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A piece of a streamed answer: choices of an OpenAI chunk, in order.

    run: whose answer it is, the claim's; another one answers anew from the start. number: of this
    frame in its run, from 0; a gap means that some were missed. model: its name in the catalog.
    """

    line: int
    run: str
    number: int
    model: str
    choices: Sequence[JsonObject]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The call is under way; only asks who listens."""

    line: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The job has ended: its result is in the database.

    result: the same, by its columns, for whoever waits for it; None where it is too long to be
    told, or was told by an older version's worker.
    """

    line: int
    result: Mapping[str, Any] | None = None


LiveFrame = Spoken | Waiting | Ended


def channel_of(batch_id: str) -> str:
    """The channel on which the jobs of a batch are heard."""
    return _PREFIX + batch_id


def to_bytes(frame: LiveFrame) -> bytes:
    """The form that is published."""
    match frame:
        case Spoken(line, run, number, model, choices):
            return orjson.dumps(
                {"line": line, "run": run, "number": number, "model": model, "choices": choices}
            )
        case Waiting(line):
            return orjson.dumps({"line": line})
        case Ended(line, result):
            return orjson.dumps({"line": line, "ended": True, "result": result})


def from_bytes(told: bytes) -> LiveFrame:
    """The frame that `to_bytes` wrote; raises ValueError or KeyError for what is none."""
    raw: dict[str, Any] = orjson.loads(told)
    if raw.get("ended"):
        return Ended(raw["line"], raw.get("result"))
    if "choices" not in raw:
        return Waiting(raw["line"])
    return Spoken(raw["line"], raw["run"], raw["number"], raw["model"], raw["choices"])
