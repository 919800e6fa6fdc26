"""Looking ahead without sending anything: where prompts would go, and what a file might cost.

Needs no server, no network and no database: the same pure deciders as the worker's, on a catalog.
What a running Promptmill has learned comes in as `expectations` (costs) and `learned` (how good
models are); without them a plan rests on usual answer lengths and the catalog. Its `worst` bounds
the routed attempts and their climbs, but neither retries nor fallbacks; what really bounds a batch
is its cap.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from producer.intake import Line, RejectedLine
from producer.planning.duration import Room
from producer.planning.plan import plan
from producer.planning.terms import Terms
from shared.catalog.spec import Catalog
from shared.deciding.classification.classifier import Classifier
from shared.deciding.classification.trained import TrainedClassifier
from shared.deciding.expectations import Expectations
from shared.deciding.prepared_routes import PreparedRoutes
from shared.deciding.project_policy import policy_of
from shared.deciding.routing_policy import NOTHING_LEARNED, Learned, RoutingPolicy
from shared.domain.decisions import UNCLASSIFIED, Classification, NoRoute, Route
from shared.domain.inference import Request

ONE_WORKER: Final = Room(places=256, keys={})
"""Of a worker process as it is by default, with one key for each provider."""


class Preview:
    """Decides as the worker would, for one project's policy."""

    def __init__(
        self,
        catalog: Catalog,
        wishes: Mapping[str, Any] | None = None,
        *,
        classifier: Classifier | None = None,
        expectations: Expectations | None = None,
        learned: Learned = NOTHING_LEARNED,
        room: Room = ONE_WORKER,
        everywhere: bool = False,
    ) -> None:
        """`wishes`: the project's routing object. `everywhere`: also models whose provider has no
        key here, for looking ahead on a machine without any; hosts without an address stay out.
        """
        self._catalog = _everywhere(catalog) if everywhere else catalog
        self._routes = PreparedRoutes(self._catalog)
        policy = policy_of(catalog.routing, wishes or {})
        self._policy: RoutingPolicy = replace(policy, learned=learned)
        self._classifier: Classifier = classifier or TrainedClassifier()
        self._expectations = expectations or Expectations()
        self._room = room

    def route(self, request: Request, custom_id: str | None = None) -> dict[str, Any]:
        """The decision on a request; where there is no route, `error` {code, message} says why."""
        classification, routed = self._decide(request)
        decision: dict[str, Any] = {
            "custom_id": custom_id,
            "task_type": classification.task_type.value,
            "difficulty": round(classification.difficulty, 4),
            "level": classification.level.value,
            "confidence": round(classification.confidence, 4),
            "tier": None,
            "model": None,
            "ladder": [],
            "reasons": list(classification.reasons),
        }
        if isinstance(routed, NoRoute):
            return decision | {"error": {"code": routed.code, "message": routed.message}}
        told = routed.to_dict()
        return decision | {
            "tier": told["tier"],
            "model": told["model"],
            "ladder": told["ladder"],
            "reasons": [*classification.reasons, *told["reasons"]],
        }

    def routes(self, lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
        """The decision on each line of a file; a bad line's has only its id and `error`."""
        for line in lines:
            if isinstance(line, RejectedLine):
                yield _refused(line)
            else:
                yield self.route(line.request, line.custom_id)

    @property
    def terms(self) -> Terms:
        """What its plans are made by."""
        return Terms(self._catalog, self._policy, self._classifier, self._expectations, self._room)

    def plan(self, lines: Iterable[Line], allot_nusd: int | None = None) -> dict[str, Any]:
        """What a file might cost, where lines that ask the same are asked once. allot_nusd: a
        budget that is allotted to all of it together.
        """
        return plan(lines, self.terms, allot_nusd)

    def _decide(self, request: Request) -> tuple[Classification, Route | NoRoute]:
        classification = (
            self._classifier.classify(request) if request.embed is None else UNCLASSIFIED
        )
        return classification, self._routes.route(request, classification, self._policy)


def _everywhere(catalog: Catalog) -> Catalog:
    # A free local host that is not there would win every comparison of costs.
    missing = {
        name: reason
        for name, reason in catalog.unavailable.items()
        if not catalog.providers[name].base_url
    }
    return replace(catalog, unavailable=missing)


def _refused(line: RejectedLine) -> dict[str, Any]:
    error = {
        "line": line.line,
        "field": line.field,
        "code": line.code,
        "message": line.message,
    }
    return {"custom_id": line.custom_id, "error": error}
