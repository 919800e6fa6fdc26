"""Routes decided once for all jobs that are alike: a job's route is then a lookup, not a choice.

A ladder depends on the catalog, the policy, what the request demands, and on two figures that vary
from job to job: its need and its size. Both enter the score in steps only (`scoring.step_of_need`,
`Demand.rough_tokens`), so that jobs of one step share a ladder. `routing.route` decides it, and
decides alone whatever depends on more: embeddings, a cost limit, a prompt near a model's window.
"""

from collections.abc import Hashable
from dataclasses import replace
from typing import Final

from shared.catalog.spec import Catalog
from shared.deciding.agreement import starting_lower
from shared.deciding.constraints import needed_capabilities
from shared.deciding.estimation import Demand, demand_of
from shared.deciding.ladders import described
from shared.deciding.routing import route
from shared.deciding.routing_policy import RoutingPolicy
from shared.deciding.scoring import floor_of, step_of_need
from shared.domain.decisions import Classification, Mode, NoRoute, Route
from shared.domain.inference import Request

_MOST_LADDERS: Final = 4096  # of one policy; about 1 MB
_MOST_POLICIES: Final = 64

_Ladders = dict[Hashable, Route]


class PreparedRoutes:
    """The routes of one catalog. Not for several threads at once: a process's loop asks it."""

    def __init__(self, catalog: Catalog) -> None:
        """`catalog` never changes; another one has its own routes."""
        self._catalog = catalog
        self._by_policy: dict[RoutingPolicy, _Ladders] = {}
        self._latest: tuple[RoutingPolicy, _Ladders] | None = None
        self._narrowest = min(
            (model.context_window for model in catalog.models.values() if not model.embeds),
            default=0,
        )

    def route(
        self,
        request: Request,
        classification: Classification,
        policy: RoutingPolicy,
        demand: Demand | None = None,
    ) -> Route | NoRoute:
        """What `routing.route` says of this request; `demand`: its own, from who has it already."""
        own = policy.for_task(classification.task_type)
        if request.embed is not None or own.limits(request).max_cost_nusd is not None:
            return route(request, classification, self._catalog, policy)
        if demand is None:
            demand = demand_of(request, classification.task_type)
        wanted = policy.default_max_tokens if request.max_tokens is None else request.max_tokens
        if wanted < 1 or demand.window_tokens + wanted > self._narrowest:
            return route(request, classification, self._catalog, policy)
        ladders = self._of(policy)
        key = (
            classification.task_type,
            step_of_need(classification),
            floor_of(classification),
            demand.rough_tokens,
            demand.choices,
            wanted,
            request.model,
            request.preferences,
            request.constraints,
            request.fallback_models,
            request.preferred_models,
            needed_capabilities(request),
            policy.starts_lower and starting_lower(request, classification.task_type),
        )
        found = ladders.get(key)
        if found is None:
            decided = route(request, classification, self._catalog, policy)
            if isinstance(decided, Route):
                _keep(ladders, key, decided)
            return decided
        if found.mode is not Mode.AUTO:
            return found
        # The first reason tells of this prompt; the rest is the ladder's.
        reasons = (described(classification), *found.reasons)
        return Route(
            found.mode, found.rungs, reasons, found.excluded, found.max_climbs, found.is_checked
        )

    def _of(self, policy: RoutingPolicy) -> _Ladders:
        # The jobs of a chunk share one policy object: it need not be hashed for each.
        if self._latest is not None and self._latest[0] is policy:
            return self._latest[1]
        ladders = self._by_policy.get(policy)
        if ladders is None:
            if len(self._by_policy) >= _MOST_POLICIES:
                self._by_policy.clear()
            ladders = self._by_policy[policy] = {}
        self._latest = (policy, ladders)
        return ladders


def _keep(ladders: _Ladders, key: Hashable, decided: Route) -> None:
    if len(ladders) >= _MOST_LADDERS:
        ladders.clear()
    if decided.mode is Mode.AUTO:
        decided = replace(decided, reasons=decided.reasons[1:])
    ladders[key] = decided
