"""What was learned of the models, to be looked at and forgotten; and what people say of answers."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from shared.catalog.spec import Catalog
from shared.db.engine import Database
from shared.db.repositories import batches, outcomes, results
from shared.deciding.learning import estimate
from shared.domain.inference import TaskType
from shared.domain.job import batch_number_of, parse_job_id, public_job_id
from shared.errors import ConflictError, NotFoundError


class Outcomes:
    """Reads and changes what routing learns from. Thread-safe."""

    def __init__(
        self, database: Database, catalog: Catalog, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock

    def say(self, public_id: str, project_id: str | None, score: float) -> dict[str, Any]:
        """Keep what somebody says of a job's answer, 0 (bad) to 1 (good); the last word counts.

        Raises NotFoundError where the project (None: any) has no such job, ConflictError where it
        has no answer that a language model gave.
        """
        job_id = parse_job_id(public_id)
        with self._database.transaction() as connection:
            found = None if job_id is None else results.story(connection, job_id)
            batch = None
            if found is not None:
                batch = batches.by_number(connection, batch_number_of(found.job.id))
            if found is None or batch is None or project_id not in (None, batch.project_id):
                raise NotFoundError("there is no such job in this project", code="job_not_found")
            ended = found.result
            if ended is None or ended.body is None or ended.task_type is None:
                raise ConflictError("the job has no answer of a language model", code="no_answer")
            outcomes.say(connection, found.job.id, batch.project_id, ended, score, self._clock())
        return {
            "object": "feedback",
            "job_id": public_job_id(found.job.id),
            "model": ended.model,
            "task_type": ended.task_type,
            "score": score,
        }

    def learned(self, project_id: str) -> dict[str, Any]:
        """What a project's outcomes say of each model per task type, as routing sees it now."""
        with self._database.reading() as connection:
            seen = outcomes.of_project(connection, project_id, self._clock())
        told = [
            self._told(model, task_type, evidence)
            for (model, task_type), evidence in sorted(seen.items())
        ]
        return {"object": "outcomes", "project": project_id, "data": told}

    def forget(
        self, project_id: str, model: str | None, task_type: TaskType | None
    ) -> dict[str, Any]:
        """Begin anew: for one model, one task type, or all of a project's."""
        with self._database.transaction() as connection:
            count = outcomes.forget(connection, project_id, model, task_type)
        return {"object": "outcomes.forgotten", "project": project_id, "forgotten": count}

    def _told(self, name: str, task_type: TaskType, evidence: Any) -> dict[str, Any]:
        model = self._catalog.models.get(name)
        told: dict[str, Any] = {
            "model": name,
            "task_type": task_type.value,
            "prior": None,
            "success": None,
            "at_least": None,
            "quality_shift": 0.0,
        }
        if model is not None and not model.embeds:
            known = estimate(model, task_type, evidence)
            told |= {
                "prior": round(known.prior, 4),
                "success": round(known.mean, 4),
                "at_least": round(known.low, 4),
                "quality_shift": known.quality_shift,
            }
        kinds = ("good", "bad", "agreed", "differed", "passed", "refused")
        return told | {"evidence": {kind: round(getattr(evidence, kind), 2) for kind in kinds}}
