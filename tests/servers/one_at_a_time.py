"""The worker that begins no job beyond its slots for calls, so that a test which kills it knows
exactly what was under way.
"""

from worker import call_slots
from worker.app import app

__all__ = ["app"]

call_slots._MOST_BEGUN = 1  # type: ignore[misc]
