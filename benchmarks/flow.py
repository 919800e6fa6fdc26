"""How a batch flows: how full its places were from its seal to its end, as the provider saw it.

A batch's whole rate (jobs by the time from its seal to its end) is mostly ramp and tail where the
batch is short. What a long batch would sustain is told by the window between a second after the
seal and the moment when no job was left to begin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import httpx

RAMP_S = 1.0
"""After the seal: what the window leaves out."""


class Look(NamedTuple):
    """What the provider had seen at a moment (seconds since the epoch): calls that had come, and
    those of them that it held.
    """

    at: float
    calls: int
    held: int


@dataclass(frozen=True, slots=True)
class Flow:
    """A batch, as the provider saw it.

    to_first_call_s: from the seal. to_end_s: from the last answer to the batch's end. window_s,
    sustained_per_s (answers a second) and in_flight (calls, on average) are the window's; all three
    are 0 where the batch was over before it began.
    """

    to_first_call_s: float
    to_end_s: float
    window_s: float
    sustained_per_s: float
    in_flight: float


def looks_of(url: str) -> list[Look]:
    """What the responder saw since it was started. url: as `surroundings.responder` tells it."""
    return [Look(*look) for look in httpx.get(f"{url}/flow", timeout=60).json()]


def flow(looks: Sequence[Look], sealed_at: float, ended_at: float, jobs: int) -> Flow:
    """The flow of a batch of so many jobs, each of one call, while nothing else ran. Pure."""
    base = max((look.calls for look in looks if look.at <= sealed_at), default=0)
    seen = [look for look in looks if look.at > sealed_at]
    first = next(look.at for look in seen if look.calls > base)
    last_begun = next(look.at for look in seen if look.calls >= base + jobs)
    answered = next(look.at for look in seen if look.calls - look.held >= base + jobs)
    window = [look for look in seen if sealed_at + RAMP_S <= look.at <= last_begun]
    held, done, window_s = 0.0, 0, 0.0
    if len(window) > 1:
        opening, closing = window[0], window[-1]
        window_s = closing.at - opening.at
        done = (closing.calls - closing.held) - (opening.calls - opening.held)
        spans = pairwise(window)
        held = sum(one.held * (other.at - one.at) for one, other in spans) / window_s
    rate = done / window_s if window_s else 0.0
    return Flow(first - sealed_at, ended_at - answered, window_s, rate, held)
