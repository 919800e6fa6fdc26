"""The edge of planning: what is known of a project is read once for each plan."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from producer.planning.duration import Room
from producer.planning.pilots import pilot_of
from producer.planning.plan import Forecast, Sample, forecast, with_pilot
from producer.previewing import Preview
from shared.catalog.keys import resolve_keys
from shared.catalog.spec import Catalog
from shared.db.engine import Database
from shared.db.repositories import batches, cost_tallies, outcomes, projects, workers
from shared.db.repositories.batches import BatchRow
from shared.deciding.classification.plugged import Classifiers
from shared.deciding.expectations import Expectations
from shared.deciding.learning import learned_of
from shared.domain.batch import BatchStatus

KEPT: Final = 1_024
"""Lines of a batch that are kept for its forecast and its pilot, at most."""
LOOKED_AT: Final = 256
"""Of them those that the forecast looks at, at 0.1 ms each: taking a file in must stay fast."""
_SEEN_WITHIN: Final = timedelta(seconds=60)


class Forecaster:
    """Makes plans for projects. Thread-safe."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        classifiers: Classifiers,
        *,
        max_in_flight: int,
        pilot_from_lines: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._classifiers = classifiers
        self._max_in_flight = max_in_flight
        self._pilot_from_lines = pilot_from_lines
        self._clock = clock
        self._keys = {
            name: len(resolve_keys(provider, os.environ))
            for name, provider in catalog.providers.items()
        }

    def preview(self, project_id: str) -> Preview:
        """What looks ahead for a project, with what was learned there until now."""
        with self._database.reading() as connection:
            project = projects.get(connection, project_id)
            costs = cost_tallies.of_project(connection, project_id)
            seen = outcomes.of_project(connection, project_id, self._clock())
            alive = workers.alive(connection, self._clock() - _SEEN_WITHIN)
        working = sum(row.kind == "worker" for row in alive)
        return Preview(
            self._catalog,
            None if project is None else project.routing,
            classifier=self._classifiers.of(project_id),
            expectations=Expectations(costs),
            learned=learned_of(seen, self._catalog),
            room=Room(self._max_in_flight * max(1, working), self._keys),
        )

    def sample(self) -> Sample:
        """What a batch's lines are shown to while they are taken in."""
        return Sample(KEPT)

    def forecast(self, project_id: str, number: int, sample: Sample) -> Forecast:
        """What is expected of the batch of that number with these lines."""
        with self._database.reading() as connection:
            batch = batches.by_number(connection, number)
        cap = None if batch is None or batch.optimise is None else batch.max_cost_nusd
        terms = self.preview(project_id).terms
        found = forecast(sample, terms, cap, most=LOOKED_AT)
        if batch is None or batch.optimise is not None or not self._is_piloted(batch, sample):
            return found
        pilot = pilot_of(sample.kept, sample.seen, batch.max_quality_loss, terms)
        return with_pilot(found, pilot, sample, terms, LOOKED_AT)

    def _is_piloted(self, batch: BatchRow, sample: Sample) -> bool:
        if batch.pilot is not None:
            return True
        return 0 < self._pilot_from_lines <= sample.seen and batch.status == BatchStatus.VALIDATING
