"""Identifiers: random, and in rising order of time where they are keys of an index."""

import secrets
import time


def new_id(prefix: str) -> str:
    """A public id: "batch_" and 24 characters of time and chance, in rising order of time."""
    return f"{prefix}_{_time_ordered(12)}"


def attempt_id() -> str:
    """An attempt's id: 32 hex digits, 48 bits of milliseconds and 80 of chance."""
    return _time_ordered(16)


def claim_token() -> str:
    """A claim's token: 128 random bits in hex."""
    return secrets.token_hex(16)


def _time_ordered(size: int) -> str:
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(size - 6)}"
