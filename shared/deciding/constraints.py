"""Hard constraints: which models may answer a request at all, and why the others may not."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from shared.catalog.spec import Catalog, ModelSpec
from shared.deciding.estimation import Demand, max_tokens_for, rough_cost_nusd, worst_cost_nusd
from shared.deciding.routing_policy import RoutingPolicy
from shared.domain.decisions import NoRoute
from shared.domain.inference import Constraints, Request, Tier
from shared.domain.money import usd_from_nusd

_REASONS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may answer, with the limit it would be given and its expected cost, roughly:
    it orders models. learned: what own outcomes add to its quality for this task type.
    """

    model: ModelSpec
    max_tokens: int
    expected_nusd: int
    learned: float = 0.0


@dataclass(frozen=True, slots=True)
class Sifted:
    """The models that may answer, in the given order, and the reason for each that may not."""

    candidates: tuple[Candidate, ...]
    excluded: tuple[tuple[str, str], ...]


def sift(
    models: Iterable[ModelSpec],
    request: Request,
    demand: Demand,
    catalog: Catalog,
    policy: RoutingPolicy,
) -> Sifted:
    """Hold models against every hard constraint of request, project and provider."""
    candidates: list[Candidate] = []
    excluded: list[tuple[str, str]] = []
    needed = needed_capabilities(request)
    limits = policy.limits(request)
    for model in models:
        limit = max_tokens_for(request, demand, model, policy.default_max_tokens)
        reason = (
            _of_another_kind(model, request)
            or _unavailable(model, catalog)
            or _not_allowed(model, request, policy)
            or _too_weak_or_slow(model, limits)
            or _lacks(model, needed)
        )
        if reason is None and limit is None:
            reason = f"context window of {model.context_window} tokens is too small"
        if reason is None and limit is not None:
            reason = _too_dear(model, request, demand, limit, limits.max_cost_nusd)
        if reason is not None or limit is None:
            excluded.append((model.name, reason or "does not fit"))
            continue
        candidates.append(Candidate(model, limit, rough_cost_nusd(demand, model, limit)))
    return Sifted(tuple(candidates), tuple(excluded))


def _of_another_kind(model: ModelSpec, request: Request) -> str | None:
    if model.embeds == (request.embed is not None):
        return None
    return "makes embeddings only" if model.embeds else "makes no embeddings"


def _unavailable(model: ModelSpec, catalog: Catalog) -> str | None:
    reason = catalog.unavailable.get(model.provider)
    return None if reason is None else f"provider {model.provider} is unavailable ({reason})"


def _not_allowed(model: ModelSpec, request: Request, policy: RoutingPolicy) -> str | None:
    allowed = request.constraints.allowed_models
    if allowed is not None and model.name not in allowed:
        return "not among the request's allowed_models"
    if policy.allowed_models is not None and model.name not in policy.allowed_models:
        return "not among the project's allowed models"
    return None


def _too_weak_or_slow(model: ModelSpec, limits: Constraints) -> str | None:
    least, longest = limits.min_tier, limits.max_latency_s
    if least is not None and rank(model.tier) < rank(least):
        return f"below min_tier {least.value}"
    if longest is not None and model.latency_s > longest:
        return f"usually takes {model.latency_s:g} s, max_latency_s is {longest:g}"
    return None


def needed_capabilities(request: Request) -> frozenset[str]:
    """What a model must be capable of to answer a request."""
    needed: set[str] = set()
    kind = (request.response_format or {}).get("type")
    if kind == "json_object":
        needed.add("json")
    elif kind == "json_schema":
        needed.add("json_schema")
    if request.wants_tools:
        needed.add("tools")
    if request.extras.get("logprobs"):
        needed.add("logprobs")
    return frozenset(needed)


def _lacks(model: ModelSpec, needed: frozenset[str]) -> str | None:
    lacking = needed - model.capabilities
    return "lacks " + " and ".join(sorted(lacking)) if lacking else None


def _too_dear(
    model: ModelSpec, request: Request, demand: Demand, limit: int, most: int | None
) -> str | None:
    if most is None:
        return None
    worst = worst_cost_nusd(request, demand, model, limit)
    if worst <= most:
        return None
    return f"can cost {usd_from_nusd(worst)} USD, max_cost_usd is {usd_from_nusd(most)}"


def nothing_left(sifted: Sifted, message: str = "no model may answer this request") -> NoRoute:
    """Why no model may answer a request, the reasons with the models that each keeps away."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in sifted.excluded:
        by_reason[reason].append(name)
    told = [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]
    more = len(told) - _REASONS_SHOWN
    if more > 0:
        told = [*told[:_REASONS_SHOWN], f"and {more} more reasons"]
    return NoRoute("no_model", f"{message} ({'; '.join(told)})" if told else message)


_RANKS = {tier: place for place, tier in enumerate(Tier)}


def rank(tier: Tier) -> int:
    """The place of a tier in the order of strength."""
    return _RANKS[tier]
