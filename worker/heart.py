"""The heart of a process: beats in a thread of its own, so that neither a busy loop nor a long
commit lets the leases of its claims lapse.
"""

import threading
from collections.abc import Callable

import structlog

from shared.errors import UnavailableError

log = structlog.get_logger(__name__)


class Heart:
    """Calls `beat` every so many seconds until it is stopped, whatever that raises."""

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        self._beat = beat
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """Begin beating."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                self._beat()
            except UnavailableError as error:
                log.warning("leases could not be renewed", reason=error.message)
            except Exception:
                log.exception("the heart stumbled")
