"""Hard constraints: which models may answer a request at all, and why the others may not."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, TypeVar

from shared.catalog.spec import Catalog, ModelSpec, RoutingSettings
from shared.deciding.estimation import Demand, max_tokens_for, rough_cost_nusd, worst_cost_nusd
from shared.domain.inference import Constraints, Preferences, Request, TaskType, Tier
from shared.domain.money import usd_from_nusd

_Figure = TypeVar("_Figure", int, float)


@dataclass(frozen=True, slots=True)
class Piloting:
    """What a batch's pilot has to say. asks_all: these jobs are its lines, so every tier is asked;
    else the tier that does for each kind of prompt, and the one for kinds that are not named (None:
    routed as usual).
    """

    asks_all: bool = False
    tiers: tuple[tuple[str, Tier], ...] = ()
    otherwise: Tier | None = None

    def tier_of(self, cluster: str) -> Tier | None:
        """The tier for a kind of prompt, if the pilot has a say."""
        return dict(self.tiers).get(cluster, self.otherwise)


@dataclass(frozen=True, slots=True)
class Rubric:
    """By what answers are graded, for a model to judge by.

    judge: a model, or a tier whose cheapest is asked. threshold: the grade, 0..1, below which a job
    climbs. share: of the jobs, those that are graded at all.
    """

    text: str
    judge: str
    threshold: float = 0.6
    share: float = 1.0


@dataclass(frozen=True)
class Learned:
    """What own outcomes add to the quality of models, per task type (`learning`); empty where
    nothing was learned.
    """

    shifts: tuple[tuple[str, TaskType, float], ...] = ()

    @cached_property
    def _by_model(self) -> dict[tuple[str, TaskType], float]:
        return {(name, task_type): shift for name, task_type, shift in self.shifts}

    def shift(self, model: str, task_type: TaskType) -> float:
        """What to add to this model's quality for this task type."""
        return self._by_model.get((model, task_type), 0.0)


NOTHING_LEARNED: Final = Learned()


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """How a project routes.

    preferences: used where a request gives none. allowed_models: None allows all. preferred_models,
    fallback_models: used where a request names none, the latter unless it names its model.
    max_latency_s, max_cost_nusd: of a request, as its own constraints; the stricter one holds.
    by_task_type: fields that are otherwise for prompts of a type. allow_downgrade:
    whether a cheaper rung may be used when the budget cannot carry the routed one. gain_per_usd: of
    a batch whose budget is allotted as a whole, what a further dollar must bring (`allotting`).
    piloting: of a batch with a pilot. learned: from the project's own outcomes. agreement: whether
    a second cheap answer is asked for where that pays (`agreement`); starts_lower: whether prompts
    whose answers can be compared start below the tier they need, where that pays as well.
    classify_with: the model, or tier, that is asked what a prompt is where the classifier's
    confidence lies below `classify_below`. rubric: by what answers are graded, if they are.
    """

    preferences: Preferences = field(default_factory=Preferences)
    allowed_models: tuple[str, ...] | None = None
    max_climbs: int = 2
    ladder: tuple[Tier, ...] = tuple(Tier)
    default_max_tokens: int = 1024
    allow_downgrade: bool = False
    gain_per_usd: float | None = None
    piloting: Piloting | None = None
    learned: Learned = NOTHING_LEARNED
    agreement: bool = False
    starts_lower: bool = False
    classify_with: str | None = None
    classify_below: float = 0.5
    rubric: Rubric | None = None
    preferred_models: tuple[str, ...] = ()
    fallback_models: tuple[str, ...] = ()
    max_latency_s: float | None = None
    max_cost_nusd: int | None = None
    by_task_type: tuple[tuple[TaskType, tuple[tuple[str, Any], ...]], ...] = ()

    def for_task(self, task_type: TaskType) -> "RoutingPolicy":
        """The policy for prompts of this type."""
        for named, wishes in self.by_task_type:
            if named is task_type:
                return replace(self, by_task_type=(), **dict(wishes))
        return self

    def limits(self, request: Request) -> Constraints:
        """What a route must keep: the request's own constraints and these."""
        own = request.constraints
        if self.max_latency_s is None and self.max_cost_nusd is None:
            return own
        return replace(
            own,
            max_latency_s=_stricter(own.max_latency_s, self.max_latency_s),
            max_cost_nusd=_stricter(own.max_cost_nusd, self.max_cost_nusd),
        )

    @classmethod
    def of(cls, settings: RoutingSettings) -> "RoutingPolicy":
        """The policy of the catalog's [routing] table."""
        return cls(
            max_climbs=settings.max_climbs,
            ladder=settings.ladder,
            default_max_tokens=settings.default_max_tokens,
        )


def _stricter(one: _Figure | None, other: _Figure | None) -> _Figure | None:
    return min((figure for figure in (one, other) if figure is not None), default=None)


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


_RANKS = {tier: place for place, tier in enumerate(Tier)}


def rank(tier: Tier) -> int:
    """The place of a tier in the order of strength."""
    return _RANKS[tier]
