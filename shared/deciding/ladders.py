"""The ladder of a request, from the models that may answer it: a way to choose for each mode. Pure.

A ladder never goes down: its first rung is the chosen model's tier, the others are the stronger
tiers that have a candidate.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from shared.deciding.agreement import pays_lower, starting_lower
from shared.deciding.allotting import choose, options_of
from shared.deciding.constraints import Candidate, Sifted, nothing_left, rank
from shared.deciding.naming import TIERS, mode_of
from shared.deciding.piloting import cluster_of
from shared.deciding.routing_policy import Piloting, RoutingPolicy
from shared.deciding.scoring import floor_of, quality_for, ranked, usable
from shared.deciding.success import success
from shared.domain.decisions import Classification, Mode, NoRoute, Route, Rung
from shared.domain.inference import Preferences, Request, Tier


def ladder_of(
    request: Request, sifted: Sifted, classification: Classification, policy: RoutingPolicy
) -> Route | NoRoute:
    """The ladder by the mode that the request asks for, or, where it leaves that open, by the one
    that its batch or its project has.
    """
    weights = usable(request.preferences, policy.preferences)
    mode = mode_of(request.model)
    if mode is Mode.BEST:
        return _best(sifted, classification)
    if mode is Mode.TIER:
        return _from_tier(TIERS[request.model], sifted, classification, weights, policy)
    if mode is Mode.CHEAPEST:
        return _cheapest(sifted, classification, weights, policy)
    if policy.gain_per_usd is not None:
        return _allotted(sifted, classification, policy, policy.gain_per_usd)
    if policy.piloting is not None:
        return _piloted(sifted, classification, weights, policy, policy.piloting)
    usual = _auto(sifted, classification, weights, policy)
    return _lower(usual, request, sifted, (classification, weights, policy))


def _auto(
    sifted: Sifted, classification: Classification, weights: Preferences, policy: RoutingPolicy
) -> Route:
    floor = floor_of(classification)
    adequate = [c for c in sifted.candidates if rank(c.model.tier) >= rank(floor)]
    order = ranked(adequate or sifted.candidates, classification, weights, policy.preferred_models)
    reasons = [described(classification)]
    if adequate:
        reasons.append(f"adequate from tier {floor.value} on")
        if shown := _shown(sifted.candidates, order[0], classification):
            usual, order = (
                order[0],
                ranked([*adequate, *shown], classification, weights, policy.preferred_models),
            )
            if order[0] in shown:
                reasons.append(
                    f"own outcomes show at 90 %: {order[0].model.name} of tier "
                    f"{order[0].model.tier.value} is as good here as {usual.model.name}"
                )
    else:
        # Of what is too weak the strongest: nothing better may be asked.
        strongest = max(rank(c.model.tier) for c in order)
        order = [c for c in order if rank(c.model.tier) == strongest]
        reasons.append(f"nothing of tier {floor.value} or above may be asked")
    why = "preferred" if order[0].model.name in policy.preferred_models else "the best score"
    has = "is" if why == "preferred" else "has"
    reasons.append(f"{order[0].model.name} {has} {why}{_learned_of(order[0])}")
    return _climbing(Mode.AUTO, order[0], sifted, (classification, weights, policy), reasons)


def _shown(
    candidates: Sequence[Candidate], usual: Candidate, classification: Classification
) -> list[Candidate]:
    """The weaker models that are adequate after all, as far as the project's own outcomes show it
    at 90 % (`learning` raises a model no further): at least as good as the floor's.
    """
    if not any(c.learned > 0.0 for c in candidates):
        return []
    least = success(usual, classification)
    return [
        c
        for c in candidates
        if c.learned > 0.0
        and rank(c.model.tier) < rank(usual.model.tier)
        and success(c, classification) >= least
    ]


def _learned_of(candidate: Candidate) -> str:
    if not candidate.learned:
        return ""
    return f" (own outcomes: quality {candidate.learned:+.2f})"


def _lower(
    usual: Route,
    request: Request,
    sifted: Sifted,
    by: tuple[Classification, Preferences, RoutingPolicy],
) -> Route:
    """The route from the weakest tier on, where two answers of it that agree are as good and
    cheaper; else the usual one.
    """
    classification, weights, policy = by
    if not policy.starts_lower:
        return usual
    fits, may_repeat = starting_lower(request, classification.task_type)
    start = rank(usual.rungs[0].tier)
    below = [c for c in sifted.candidates if rank(c.model.tier) < start]
    if not fits or not below or policy.max_climbs < 1:
        return usual
    least = min(rank(c.model.tier) for c in below)
    weakest = [c for c in below if rank(c.model.tier) == least]
    first = ranked(weakest, classification, weights)
    named = next(c for c in sifted.candidates if c.model.name == usual.first_model)
    if not pays_lower(first, named, classification, may_repeat=may_repeat):
        return usual
    rung = Rung(first[0].model.tier, tuple(c.model.name for c in first))
    why = f"starts at tier {rung.tier.value}: two answers that agree cost less than one"
    rungs = (rung, *usual.rungs)
    climbs = min(policy.max_climbs, len(rungs) - 1)
    return replace(
        usual, rungs=rungs, reasons=(*usual.reasons, why), max_climbs=climbs, is_checked=True
    )


def _allotted(
    sifted: Sifted, classification: Classification, policy: RoutingPolicy, gain_per_usd: float
) -> Route:
    """The model that the batch's budget buys this job, and a climb only where it buys that too."""
    option = choose(options_of(sifted.candidates, classification), gain_per_usd)
    first = next(c for c in sifted.candidates if c.model.name == option.model)
    reasons = [
        described(classification),
        f"the batch's budget carries {option.model} at {gain_per_usd:.3g} good answers a dollar",
    ]
    by = (classification, Preferences(), policy)
    route = _climbing(Mode.AUTO, first, sifted, by, reasons)
    return replace(route, max_climbs=min(route.max_climbs, int(option.climbs)))


def _piloted(
    sifted: Sifted,
    classification: Classification,
    weights: Preferences,
    policy: RoutingPolicy,
    piloting: Piloting,
) -> Route:
    """Every tier from the weakest on, for a line of the pilot; else the tier that it chose."""
    cluster = cluster_of(classification)
    tier = Tier.CHEAP if piloting.asks_all else piloting.tier_of(cluster)
    if tier is None:
        return _auto(sifted, classification, weights, policy)
    ranks = {rank(c.model.tier) for c in sifted.candidates}
    start = min((r for r in ranks if r >= rank(tier)), default=max(ranks))
    own = [c for c in sifted.candidates if rank(c.model.tier) == start]
    first = ranked(own, classification, weights, policy.preferred_models)[0]
    why = "the pilot asks every tier" if piloting.asks_all else f"the pilot chose for {cluster}"
    by = (classification, weights, policy)
    reasons = [described(classification), f"{why}: from tier {first.model.tier.value} on"]
    found = _climbing(Mode.AUTO, first, sifted, by, reasons)
    return replace(found, max_climbs=len(found.rungs) - 1) if piloting.asks_all else found


def _cheapest(
    sifted: Sifted, classification: Classification, weights: Preferences, policy: RoutingPolicy
) -> Route:
    order = sorted(sifted.candidates, key=lambda c: (c.expected_nusd, c.model.latency_s))
    reasons = ["the cheapest was asked for"]
    return _climbing(Mode.CHEAPEST, order[0], sifted, (classification, weights, policy), reasons)


def _from_tier(
    tier: Tier,
    sifted: Sifted,
    classification: Classification,
    weights: Preferences,
    policy: RoutingPolicy,
) -> Route | NoRoute:
    from_here = [c for c in sifted.candidates if rank(c.model.tier) >= rank(tier)]
    if not from_here:
        return nothing_left(sifted, f"no model of tier {tier.value} or above may answer")
    start = min(rank(c.model.tier) for c in from_here)
    own = [c for c in from_here if rank(c.model.tier) == start]
    first = ranked(own, classification, weights, policy.preferred_models)[0]
    reasons = [f"tier {tier.value} was asked for"]
    if first.model.tier is not tier:
        reasons.append(f"it has no model for this request: starts at {first.model.tier.value}")
    return _climbing(Mode.TIER, first, sifted, (classification, weights, policy), reasons)


def _best(sifted: Sifted, classification: Classification) -> Route:
    top = max(rank(c.model.tier) for c in sifted.candidates)
    strongest = sorted(
        (c for c in sifted.candidates if rank(c.model.tier) == top),
        key=lambda c: (-quality_for(c, classification.task_type), c.expected_nusd, c.model.name),
    )
    rung = Rung(strongest[0].model.tier, tuple(c.model.name for c in strongest))
    return Route(Mode.BEST, (rung,), ("the best was asked for",), sifted.excluded, 0)


def _climbing(
    mode: Mode,
    first: Candidate,
    sifted: Sifted,
    by: tuple[Classification, Preferences, RoutingPolicy],
    reasons: Sequence[str],
) -> Route:
    """The ladder from this model on: its tier's others behind it, then the stronger tiers."""
    classification, weights, policy = by
    tiers: dict[Tier, list[Candidate]] = defaultdict(list)
    preferred = policy.preferred_models
    for candidate in ranked(sifted.candidates, classification, weights, preferred):
        if candidate is not first:
            tiers[candidate.model.tier].append(candidate)
    tiers[first.model.tier].insert(0, first)
    start = rank(first.model.tier)
    rungs = tuple(
        Rung(tier, tuple(c.model.name for c in tiers[tier]))
        for tier in Tier
        if rank(tier) >= start and tiers[tier]
    )
    if policy.fallback_models:
        rungs = (_with_fallbacks(rungs[0], sifted, policy.fallback_models), *rungs[1:])
    climbs = min(policy.max_climbs, len(rungs) - 1)
    return Route(mode, rungs, tuple(reasons), sifted.excluded, climbs)


def _with_fallbacks(rung: Rung, sifted: Sifted, fallbacks: Sequence[str]) -> Rung:
    """The rung with those that were named behind its first model, whatever their tier."""
    may_answer = {candidate.model.name for candidate in sifted.candidates}
    named = [name for name in fallbacks if name in may_answer]
    return Rung(rung.tier, tuple(dict.fromkeys((rung.models[0], *named, *rung.models[1:]))))


def described(classification: Classification) -> str:
    """A classification in words, the first reason of a route chosen by it."""
    return (
        f"{classification.task_type}, {classification.level} "
        f"({classification.difficulty:.2f}), confidence {classification.confidence:.2f}"
    )
