"""Looking ahead without sending anything: where prompts would go, and what a file might cost.

Needs no server, no network and no database: the same pure deciders as the worker's, on a catalog.
A plan is an estimate made of usual answer lengths. Its `worst` bounds the routed attempts and
their climbs, but neither retries nor fallbacks; what really bounds a batch is its cap.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from producer.intake import FirstLines, Line, RejectedLine, ValidLine
from producer.intake.repeated import asked_once
from shared.catalog.spec import Catalog
from shared.deciding.classification.classifier import Classifier
from shared.deciding.classification.trained import TrainedClassifier
from shared.deciding.constraints import RoutingPolicy
from shared.deciding.estimation import (
    Demand,
    demand_of,
    expected_cost_nusd,
    max_tokens_for,
    worst_cost_nusd,
)
from shared.deciding.prepared_routes import PreparedRoutes
from shared.deciding.project_policy import policy_of
from shared.domain.decisions import UNCLASSIFIED, Classification, NoRoute, Route
from shared.domain.inference import Request
from shared.domain.money import usd_from_nusd

EXAMINED: Final = 5_000
"""Lines of a longer file that are looked at, evenly spread; the sums are scaled up."""

# Assumptions, measured nowhere yet: how often an answer is weak enough to climb, and the standard
# deviation of an answer's cost as a share of its expected cost.
_CLIMB_CHANCE: Final = 1 / 7
_SPREAD: Final = 1.0
_P95: Final = 1.645  # standard deviations above the mean, of a normal sum
_IN_FLIGHT: Final = 256


class Preview:
    """Decides as the worker would, for one project's policy."""

    def __init__(
        self,
        catalog: Catalog,
        wishes: Mapping[str, Any] | None = None,
        *,
        classifier: Classifier | None = None,
        everywhere: bool = False,
    ) -> None:
        """`wishes`: the project's routing object. `everywhere`: also models whose provider has no
        key here, for looking ahead on a machine without any; hosts without an address stay out.
        """
        self._catalog = _everywhere(catalog) if everywhere else catalog
        self._routes = PreparedRoutes(self._catalog)
        self._policy: RoutingPolicy = policy_of(catalog.routing, wishes or {})
        self._classifier: Classifier = classifier or TrainedClassifier()

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

    def plan(self, lines: Iterable[Line], expected_lines: int = 0) -> dict[str, Any]:
        """What a file might cost, where lines that ask the same are asked once; `expected_lines`
        (about) lets a long one be sampled.
        """
        stride = max(1, -(-expected_lines // EXAMINED))
        sums = _Sums()
        with FirstLines() as seen:
            for line in lines:
                sums.lines += 1
                if isinstance(line, RejectedLine):
                    sums.rejected += 1
                elif _is_repeated(line, seen):
                    sums.duplicates += 1
                else:
                    if sums.asked % stride == 0:
                        self._estimate(line.request, sums)
                    sums.asked += 1
        return sums.told()

    def _decide(self, request: Request) -> tuple[Classification, Route | NoRoute]:
        classification = (
            self._classifier.classify(request) if request.embed is None else UNCLASSIFIED
        )
        return classification, self._routes.route(request, classification, self._policy)

    def _estimate(self, request: Request, sums: "_Sums") -> None:
        classification, routed = self._decide(request)
        sums.examined += 1
        if isinstance(routed, NoRoute):
            sums.unroutable += 1
            return
        demand = demand_of(request, classification.task_type)
        rungs = routed.rungs[: routed.max_climbs + 1]
        costs = [self._costs(request, demand, rung.models[0]) for rung in rungs]
        first = costs[0][0]
        climbs = [_CLIMB_CHANCE**step * cost for step, (cost, _) in enumerate(costs[1:], 1)]
        sums.models[routed.first_model] += 1
        sums.expected += first + sum(climbs)
        sums.variance += (_SPREAD * first) ** 2 + sum(
            _CLIMB_CHANCE**step * cost**2 for step, (cost, _) in enumerate(costs[1:], 1)
        )
        sums.worst += sum(worst for _, worst in costs)
        sums.seconds += self._catalog.models[routed.first_model].latency_s

    def _costs(self, request: Request, demand: Demand, name: str) -> tuple[int, int]:
        """What an attempt on this model is expected to cost, and at most."""
        model = self._catalog.models[name]
        default = self._policy.default_max_tokens
        limit = max_tokens_for(request, demand, model, default)
        limit = default if limit is None else limit
        worst = worst_cost_nusd(request, demand, model, limit)
        return min(worst, expected_cost_nusd(demand, model, limit)), worst


@dataclass(slots=True)
class _Sums:
    """What the examined lines add up to."""

    lines: int = 0
    rejected: int = 0
    duplicates: int = 0
    asked: int = 0
    examined: int = 0
    unroutable: int = 0
    expected: float = 0.0
    variance: float = 0.0
    worst: int = 0
    seconds: float = 0.0
    models: Counter[str] = field(default_factory=Counter)

    def told(self) -> dict[str, Any]:
        """The plan. `seconds`: all calls' usual time, 256 in flight, on one worker process."""
        jobs = self.lines - self.rejected
        scale = self.asked / self.examined if self.examined else 0.0
        worst = math.ceil(self.worst * scale)
        p50 = math.ceil(self.expected * scale)
        p95 = math.ceil(self.expected * scale + _P95 * math.sqrt(self.variance * scale))
        costs = {"p50": min(p50, worst), "p95": min(p95, worst), "worst": worst}
        routed = self.examined - self.unroutable
        longest = self.seconds / routed if routed else 0.0
        return {
            "lines": self.lines,
            "jobs": jobs,
            "rejected": self.rejected,
            "duplicates": self.duplicates,
            "examined": self.examined,
            "unroutable": round(self.unroutable * scale),
            "cost_nusd": costs,
            "cost_usd": {name: usd_from_nusd(cost) for name, cost in costs.items()},
            "models": [
                {"model": model, "jobs": round(count * scale)}
                for model, count in self.models.most_common()
            ],
            # The catalog refuses a model without a price, so no job of a plan lacks one.
            "unpriced": [],
            "seconds": round(max(longest, self.seconds * scale / _IN_FLIGHT), 1),
        }


def _everywhere(catalog: Catalog) -> Catalog:
    # A free local host that is not there would win every comparison of costs.
    missing = {
        name: reason
        for name, reason in catalog.unavailable.items()
        if not catalog.providers[name].base_url
    }
    return replace(catalog, unavailable=missing)


def _is_repeated(line: ValidLine, seen: FirstLines) -> bool:
    """Whether an earlier line asks the same, so that this one is not asked."""
    digest = asked_once(line.asked)
    return digest is not None and seen.first(digest, line.line) != line.line


def _refused(line: RejectedLine) -> dict[str, Any]:
    error = {
        "line": line.line,
        "field": line.field,
        "code": line.code,
        "message": line.message,
    }
    return {"custom_id": line.custom_id, "error": error}
