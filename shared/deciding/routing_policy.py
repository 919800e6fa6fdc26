"""How a project routes: its wishes and limits, a batch's pilot and what outcomes taught. Pure."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, TypeVar

from shared.catalog.spec import RoutingSettings
from shared.domain.inference import Constraints, Preferences, Request, TaskType, Tier

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
