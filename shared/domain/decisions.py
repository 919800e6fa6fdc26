"""What the deciders say, as values: classification, route and ladder, verdict, and next step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from shared.domain.inference import TaskType, Tier
from shared.domain.values import made_often

MEDIUM_FROM = 0.34
HARD_FROM = 0.67


class Level(StrEnum):
    """Difficulty in words: easy below 0.34, hard from 0.67 on."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"

    @classmethod
    def of(cls, difficulty: float) -> "Level":
        """The level of a difficulty between 0 and 1."""
        if difficulty < MEDIUM_FROM:
            return cls.EASY
        return cls.MEDIUM if difficulty < HARD_FROM else cls.HARD


@made_often(frozen=True, slots=True)
class Classification:
    """What a prompt is. `difficulty` and `confidence` lie in 0..1; `source` names who decided."""

    task_type: TaskType
    difficulty: float
    confidence: float
    reasons: tuple[str, ...] = ()
    source: str = "rules"

    @property
    def level(self) -> Level:
        """The difficulty in words."""
        return Level.of(self.difficulty)

    def to_dict(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "task_type": self.task_type.value,
            "difficulty": round(self.difficulty, 4),
            "level": self.level.value,
            "confidence": round(self.confidence, 4),
            "reasons": list(self.reasons),
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Classification":
        """The classification that `to_dict` stored."""
        return cls(
            task_type=TaskType(stored["task_type"]),
            difficulty=stored["difficulty"],
            confidence=stored["confidence"],
            reasons=tuple(stored["reasons"]),
            source=stored["source"],
        )


UNCLASSIFIED: Final = Classification(
    TaskType.SIMPLE_QA, 0.0, 1.0, ("embeddings are not classified",), "endpoint"
)
"""Stands where a request for embeddings would have a classification."""


class Mode(StrEnum):
    """How the model was chosen."""

    AUTO = "auto"
    CHEAPEST = "cheapest"
    BEST = "best"
    TIER = "tier"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a ladder: a tier and its models, the preferred first, the rest fallbacks."""

    tier: Tier
    models: tuple[str, ...]
    told: Mapping[str, Any] = field(init=False, compare=False, repr=False)
    """The form that is stored and shown; made once, jobs alike share their rungs."""

    def __post_init__(self) -> None:
        told = {"tier": self.tier.value, "models": list(self.models)}
        object.__setattr__(self, "told", told)


@made_often(frozen=True, slots=True)
class Route:
    """Where a prompt goes: the ladder from the first model upwards, and why.

    rungs[0].models[0] is asked first; further models of a rung are fallbacks for a sick provider;
    further rungs are climbed for weak answers, at most `max_climbs` times. `excluded` gives for
    each model that a hard constraint ruled out the reason. `is_checked`: the first rung is below
    what the prompt needs, so its answer is good only where another model's agrees.
    """

    mode: Mode
    rungs: tuple[Rung, ...]
    reasons: tuple[str, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    max_climbs: int = 2
    is_checked: bool = False

    @property
    def first_model(self) -> str:
        """The model asked first."""
        return self.rungs[0].models[0]

    def to_dict(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "mode": self.mode.value,
            "model": self.first_model,
            "tier": self.rungs[0].told["tier"],
            "ladder": [rung.told for rung in self.rungs],
            "reasons": list(self.reasons),
            "excluded": dict(self.excluded),
            "max_climbs": self.max_climbs,
            **({"checked": True} if self.is_checked else {}),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Route":
        """The route that `to_dict` stored."""
        return cls(
            mode=Mode(stored["mode"]),
            rungs=tuple(Rung(Tier(r["tier"]), tuple(r["models"])) for r in stored["ladder"]),
            reasons=tuple(stored["reasons"]),
            excluded=tuple(stored["excluded"].items()),
            max_climbs=stored["max_climbs"],
            is_checked=stored.get("checked", False),
        )


@dataclass(frozen=True, slots=True)
class NoRoute:
    """No model may answer this prompt; `code` is stable, `message` names the constraints."""

    code: str
    message: str


@made_often(frozen=True, slots=True)
class Verdict:
    """A judge's word on one answer. `score` in 0..1 orders weak answers: the best one is kept."""

    accepted: bool
    score: float
    reasons: tuple[str, ...] = ()
    judge: str = "checks"

    def to_dict(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "accepted": self.accepted,
            "score": round(self.score, 4),
            "reasons": list(self.reasons),
            "judge": self.judge,
        }


@made_often(frozen=True, slots=True)
class Accept:
    """Keep the best answer so far and finish."""

    reason: str


@dataclass(frozen=True, slots=True)
class Climb:
    """Ask the rung with this index of the ladder, because of `reason`."""

    rung: int
    reason: str


NextStep = Accept | Climb
