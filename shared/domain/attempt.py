"""An attempt: one paid call, from durable intent to its cost row."""

from enum import StrEnum
from typing import Final


class Purpose(StrEnum):
    """What a paid call was for."""

    ANSWER = "answer"
    JUDGE = "judge"
    CLASSIFY = "classify"


class AttemptStatus(StrEnum):
    """Where an attempt's money stands.

    OPEN: the intent is durable, the call may be under way; counts at its reservation.
    BILLED: the provider answered with usage; costs that usage.
    FREE: the provider refused or failed without usage, or the call never left; costs nothing.
    UNCONFIRMED: it may have been sent and was not answered; costs its reservation.
    """

    OPEN = "open"
    BILLED = "billed"
    FREE = "free"
    UNCONFIRMED = "unconfirmed"


CLOSED: Final = frozenset({AttemptStatus.BILLED, AttemptStatus.FREE, AttemptStatus.UNCONFIRMED})
