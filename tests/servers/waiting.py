"""Waiting for what must happen, in tests of other processes."""

import time
from collections.abc import Callable

PATIENCE_S = 60


def wait_for(question: Callable[[], object], what: str) -> None:
    """Ask until the answer is true. Fails after a minute, saying what never happened."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if question():
            return
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")
