"""Celery's consumer, which tells Flower of tasks a few times a second instead of each time.

Celery tells as soon as it may, which is three times a chunk: some milliseconds of the process's
time for each, and for a chat just when its message has come and when its answer is on its way.
"""

import time
from typing import Any, Final

from celery.worker.consumer import Consumer

TOLD_EVERY_S: Final = 0.25
"""Of 24 events that wait, Celery tells at once."""


class CalmConsumer(Consumer):  # type: ignore[misc]
    """Named in the setting `worker_consumer`."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._told_at = 0.0

    def on_send_event_buffered(self) -> None:
        """An event waits; its thread may be any. A timer that was lost with a connection holds
        nothing up: by then the next event sets another.
        """
        now = time.monotonic()
        if self.hub is not None and now >= self._told_at:
            self._told_at = now + TOLD_EVERY_S
            self.hub.call_later(TOLD_EVERY_S, self._flush_events)
