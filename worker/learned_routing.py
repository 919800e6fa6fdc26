"""What a project's own outcomes say of the models, as the jobs of this process are routed by it.

Read when a batch begins here, so that it is routed as its plan says, and at most every half minute
besides, with what a chunk reads anyway: a job costs nothing, and a batch that runs for hours learns
from those that ended meanwhile. A chat takes what was read last.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from shared.catalog.spec import Catalog
from shared.db.engine import Connection
from shared.db.repositories import outcomes
from shared.deciding.learning import learned_of
from shared.deciding.routing_policy import Learned

KEPT_S: Final = 30.0
_MOST: Final = 1_000


class LearnedRouting:
    """One a process. Thread-safe: two threads may read the same at once, and both are right."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        clock: Callable[[], datetime],
        since: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._since = since
        self._kept: dict[str, tuple[float, int, Learned]] = {}

    def of(self, connection: Connection, project_id: str, batch: int = 0) -> Learned:
        """What was learned in a project, half a minute ago at most, and not before the first jobs
        of a batch of this number were seen (0: a chat).
        """
        kept, now = self._kept.get(project_id), self._since()
        newest = 0
        if kept is not None:
            since, newest, learned = kept
            if now - since < KEPT_S and batch <= newest:
                return learned
        seen = outcomes.of_project(connection, project_id, self._clock())
        learned = learned_of(seen, self._catalog)
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[project_id] = now, max(batch, newest), learned
        return learned
