"""Identifiers: random, and in rising order of time where they are keys of an index."""

import random
import secrets
import time
from typing import Final

_CLAIMANT_BYTES: Final = 6


def new_id(prefix: str) -> str:
    """A public id: "batch_" and 24 characters of time and chance, in rising order of time."""
    return f"{prefix}_{_time_ordered(12)}"


def attempt_id() -> str:
    """An attempt's id: 32 hex digits, 48 bits of milliseconds and 80 of chance.

    It must be unique, not secret, and one is made for every call: the generator is Python's own,
    which the system seeds, and seeds anew after a fork.
    """
    return f"{_now_ms():012x}{random.getrandbits(80):020x}"


def attempt_ids_from(timestamp: float) -> str:
    """The lowest id that an attempt made at or after this moment (Unix seconds) can have."""
    return f"{max(0, int(timestamp * 1000)):012x}"


def moment_of_attempt(attempt: str) -> float:
    """When an attempt's id was made, in Unix seconds."""
    return int(attempt[:12], 16) / 1000


def permit_id() -> str:
    """The name of one call's place at a provider: 64 bits of chance in hex, unique, no secret."""
    return f"{random.getrandbits(64):016x}"


def claimant_id() -> str:
    """The name of a process that claims jobs: 48 random bits in hex."""
    return secrets.token_hex(_CLAIMANT_BYTES)


def claim_token(claimant: str = "") -> str:
    """A claim's token: 128 random bits in hex, those of the claimant's name first."""
    return claimant + secrets.token_hex(16 - len(claimant) // 2)


def claimant_of(token: str) -> str:
    """Whose claim it is, of a token that was made for a claimant."""
    return token[: 2 * _CLAIMANT_BYTES]


def _time_ordered(size: int) -> str:
    return f"{_now_ms():012x}{secrets.token_hex(size - 6)}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
