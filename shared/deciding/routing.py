"""Which model is asked first, which stand in for it, and which are climbed to. Pure.

Hard constraints first (`constraints`), then the ladder of those that are left (`ladders`), by the
score (`scoring`).
"""

from dataclasses import replace

from shared.catalog.spec import Catalog
from shared.deciding.constraints import Candidate, Sifted, nothing_left, rank, sift
from shared.deciding.estimation import Demand, demand_of
from shared.deciding.ladders import ladder_of
from shared.deciding.naming import TIERS, mode_of, not_found
from shared.deciding.routing_policy import RoutingPolicy
from shared.domain.decisions import Classification, Mode, NoRoute, Route, Rung
from shared.domain.inference import Request, Tier


def route(
    request: Request, classification: Classification, catalog: Catalog, policy: RoutingPolicy
) -> Route | NoRoute:
    """Where a request goes, or why it can go nowhere.

    NoRoute codes: "model_not_found" (no such name), "no_model" (the constraints leave nothing).
    """
    policy = _wished(request, policy.for_task(classification.task_type))
    demand = demand_of(request, classification.task_type)
    if request.embed is not None:
        return _embedding(request, demand, catalog, policy)
    if mode_of(request.model) is Mode.MANUAL:
        if request.model not in catalog.models:
            return not_found(request.model, catalog)
        names = dict.fromkeys((request.model, *request.fallback_models))
        known = [catalog.models[name] for name in names if name in catalog.models]
        return _manual(request, sift(known, request, demand, catalog, policy))
    # Models without a key or an address stay out of the record of each of a million jobs; only
    # where nothing is left does the message need them.
    sifted = sift(catalog.askable, request, demand, catalog, policy)
    sifted = _on_ladder(sifted, policy, TIERS.get(request.model))
    if not sifted.candidates:
        everything = sift(catalog.models.values(), request, demand, catalog, policy)
        return nothing_left(_on_ladder(everything, policy, TIERS.get(request.model)))
    return ladder_of(request, _as_learned(sifted, classification, policy), classification, policy)


def candidates_of(
    request: Request, classification: Classification, catalog: Catalog, policy: RoutingPolicy
) -> tuple[Candidate, ...]:
    """The models that may answer a request at all, whatever they cost and bring."""
    policy = policy.for_task(classification.task_type)
    demand = demand_of(request, classification.task_type)
    named = mode_of(request.model) is Mode.MANUAL or request.embed is not None
    models = catalog.models.values() if named else catalog.askable
    sifted = sift(models, request, demand, catalog, policy)
    if named:
        return sifted.candidates
    sifted = _on_ladder(sifted, policy, TIERS.get(request.model))
    return _as_learned(sifted, classification, policy).candidates


def _wished(request: Request, policy: RoutingPolicy) -> RoutingPolicy:
    """The policy with what the request itself names."""
    if not request.preferred_models and not request.fallback_models:
        return policy
    return replace(
        policy,
        preferred_models=request.preferred_models or policy.preferred_models,
        fallback_models=request.fallback_models or policy.fallback_models,
    )


def _on_ladder(sifted: Sifted, policy: RoutingPolicy, named: Tier | None) -> Sifted:
    off = {c.model.name for c in sifted.candidates if c.model.tier not in (*policy.ladder, named)}
    if not off:
        return sifted
    return Sifted(
        tuple(c for c in sifted.candidates if c.model.name not in off),
        (*sifted.excluded, *((name, "its tier is not on the ladder") for name in sorted(off))),
    )


def _as_learned(sifted: Sifted, classification: Classification, policy: RoutingPolicy) -> Sifted:
    """The candidates with what the project's own outcomes say of them."""
    if not policy.learned.shifts:
        return sifted
    known = tuple(
        replace(c, learned=policy.learned.shift(c.model.name, classification.task_type))
        for c in sifted.candidates
    )
    return Sifted(known, sifted.excluded)


def _manual(request: Request, sifted: Sifted) -> Route | NoRoute:
    if not sifted.candidates:
        return nothing_left(sifted)
    names = tuple(candidate.model.name for candidate in sifted.candidates)
    reasons = ["the model was named"]
    if names[0] != request.model:
        reasons.append(f"it may not answer: {dict(sifted.excluded)[request.model]}")
    rung = Rung(sifted.candidates[0].model.tier, names)
    return Route(Mode.MANUAL, (rung,), tuple(reasons), sifted.excluded, 0)


def _embedding(
    request: Request, demand: Demand, catalog: Catalog, policy: RoutingPolicy
) -> Route | NoRoute:
    """One model and nothing behind it: vectors of two models cannot be compared. Unless one is
    named, the same model is chosen each time: the cheapest of the tier, or of all; or the best.
    """
    mode = mode_of(request.model)
    if mode is Mode.MANUAL and request.model not in catalog.models:
        return not_found(request.model, catalog)
    named = [catalog.models[request.model]] if mode is Mode.MANUAL else catalog.models.values()
    models = [m for m in named if m.embeds or mode is Mode.MANUAL]
    sifted = sift(models, request, demand, catalog, policy)
    tier = TIERS.get(request.model)
    found = [c.model for c in sifted.candidates if tier in (None, c.model.tier)]
    if not found:
        return nothing_left(sifted, "no model may make these embeddings")
    by_price = sorted(found, key=lambda m: (m.price.base.input, m.name))
    chosen = max(by_price, key=lambda m: m.quality) if mode is Mode.BEST else by_price[0]
    why = "the model was named" if mode is Mode.MANUAL else f"{mode.value} of those that embed"
    return Route(mode, (Rung(chosen.tier, (chosen.name,)),), (why,), sifted.excluded, 0)


def cheaper_rungs(route: Route, catalog: Catalog) -> tuple[Rung, ...]:
    """What a project that allows it may step down to when its budget cannot carry a route.

    Weaker tiers, the strongest first, each with the models that no hard constraint excluded, the
    better first. None for a named model, which is what was asked for, and none for embeddings.
    """
    if route.mode is Mode.MANUAL or catalog.models[route.first_model].embeds:
        return ()
    excluded = {name for name, _ in route.excluded}
    below = [tier for tier in reversed(Tier) if rank(tier) < rank(route.rungs[0].tier)]
    rungs = []
    for tier in below:
        models = [model for model in catalog.models_of(tier) if model.name not in excluded]
        models.sort(key=lambda model: (-model.quality, model.name))
        if models:
            rungs.append(Rung(tier, tuple(model.name for model in models)))
    return tuple(rungs)
