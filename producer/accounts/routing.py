"""A project's routing policy: read, changed, and tried against another one."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from shared.catalog.spec import Catalog
from shared.db.engine import Database
from shared.db.repositories import projects, trials
from shared.deciding.trials import Arm, Sums, better, difference
from shared.domain.inference import Tier
from shared.errors import NotFoundError, UsageError


class Routing:
    """Reads and changes what routing takes from projects. Thread-safe."""

    def __init__(
        self, database: Database, catalog: Catalog, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock

    def read(self, project_id: str) -> dict[str, Any]:
        """A project's wishes; what is not named is the catalog's."""
        with self._database.reading() as connection:
            row = projects.get(connection, project_id)
        wishes = {} if row is None else dict(row.routing)
        trial = wishes.pop("trial", None)
        return {"object": "routing", "project": project_id, "policy": wishes, "trial": trial}

    def change(self, project_id: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Set the wishes that are named, None leaves one to the catalog; those not named stay."""
        self._check(wishes, "")
        return self._set(project_id, wishes)

    def begin_trial(
        self, project_id: str, name: str, share: float, wishes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Run this share of the project's jobs by its policy with these wishes changed; a trial
        that runs ends with it.
        """
        self._check(wishes, "policy.")
        began = self._clock().isoformat()
        trial = {"name": name, "share": share, "policy": dict(wishes), "began_at": began}
        return self._set(project_id, {"trial": trial})

    def end_trial(self, project_id: str) -> dict[str, Any]:
        """Run all jobs by the project's own policy again; what is to be kept of it is set."""
        told = self.trial(project_id)
        self._set(project_id, {"trial": None})
        return told

    def trial(self, project_id: str) -> dict[str, Any]:
        """What the running trial has shown. Raises NotFoundError where there is none."""
        trial = self.read(project_id)["trial"]
        if trial is None:
            raise NotFoundError("no trial runs in this project", code="no_trial")
        with self._database.reading() as connection:
            sums = trials.sums_of(
                connection,
                project_id,
                trial["name"],
                datetime.fromisoformat(trial["began_at"]),
            )
        found = {
            figure: difference(sums[Arm.A][figure], sums[Arm.B][figure])
            for figure in trials.FIGURES
        }
        arm, why = better(found)
        return {
            "object": "trial",
            "project": project_id,
            **trial,
            "arms": {arm.value: _told(sums[arm]) for arm in Arm},
            "differences": {figure: one.to_dict() for figure, one in found.items()},
            "better": arm,
            "because": why,
        }

    def _set(self, project_id: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        with self._database.transaction() as connection:
            row = projects.get(connection, project_id)
            if row is None:
                raise NotFoundError("there is no such project", code="project_not_found")
            after = {**row.routing, **wishes}
            kept = {name: value for name, value in after.items() if value is not None}
            projects.set_routing(connection, project_id, kept)
        return self.read(project_id)

    def _check(self, wishes: Mapping[str, Any], at: str) -> None:
        for field in ("allowed_models", "preferred_models", "fallback_models"):
            for name in wishes.get(field) or ():
                if name not in self._catalog.models:
                    raise UsageError(
                        f"no model is called {name[:100]!r}",
                        code="model_not_found",
                        param=f"{at}{field}",
                    )
        asked = {
            "classify_with": wishes.get("classify_with"),
            "rubric.judge": (wishes.get("rubric") or {}).get("judge"),
        }
        for field, name in asked.items():
            if name is not None and name not in {*self._catalog.models, *Tier}:
                raise UsageError(
                    f"no model and no tier is called {name[:100]!r}",
                    code="model_not_found",
                    param=f"{at}{field}",
                )
        for task_type, own in (wishes.get("by_task_type") or {}).items():
            self._check(own, f"{at}by_task_type.{task_type}.")


def _told(sums: Mapping[str, Sums]) -> dict[str, Any]:
    told: dict[str, Any] = {"jobs": sums["cost_nusd"].count}
    told["rated"] = sums["feedback"].count
    for figure, own in sums.items():
        told[figure] = None if own.mean is None else round(own.mean, 4)
    return told
