"""Recorded outcomes from JSON lines: what each model answered to a prompt, how well, for how much.

A line is `{"prompt", "id"?, "models": {MODEL: {"score", "answer"?, "cost_nusd"? | "cost_usd"?}}}`,
or short: `{"prompt", "id"?, "scores": {MODEL: score}, "answers"?: {MODEL: text},
"costs_usd"?: {MODEL: usd}}`. Scores lie in 0..1. Further fields are left alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.deciding.comparing import answer_key
from shared.domain.money import nusd_from_usd
from shared.errors import UsageError

Score = Annotated[float, Field(ge=0, le=1)]
Usd = Annotated[Decimal, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One model's answer. answer_key: see `answers`; cost_nusd: None where nobody said."""

    score: float
    answer_key: str | None = None
    cost_nusd: int | None = None
    is_answered: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """One prompt, and what every model made of it."""

    id: str
    prompt: str
    models: Mapping[str, Recorded]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")

    score: Score
    answer: str | None = None
    cost_nusd: Annotated[int, Field(ge=0)] | None = None
    cost_usd: Usd | None = None


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    prompt: Annotated[str, Field(min_length=1)]
    id: str | int | None = None
    models: dict[str, _Model] = {}
    scores: dict[str, Score] = {}
    answers: dict[str, str | None] = {}
    costs_usd: dict[str, Usd] = {}


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str | int
    model: str
    response: str | None = None
    parsed: str | None = None


def read_outcomes(lines: Iterable[bytes]) -> list[Outcome]:
    """Every line's outcome. Raises UsageError naming line and field of the first that is wrong."""
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        told = _parsed(_Line, line, number)
        models = _models(told)
        if not models:
            raise UsageError(f"line {number}: `models` or `scores` names no model", param="models")
        found.append(Outcome(str(told.id if told.id is not None else number), told.prompt, models))
    if not found:
        raise UsageError("the file has no outcomes", param="FILE")
    return found


def with_answers(outcomes: Iterable[Outcome], lines: Iterable[bytes]) -> Iterator[Outcome]:
    """The outcomes with answers from lines `{"id", "model", "response"?, "parsed"?}`, joined by id;
    where there is a `parsed`, the answer's essence, that is compared.
    """
    answers: dict[str, dict[str, str | None]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            told = _parsed(_Answer, line, number)
            key = told.parsed.strip() if told.parsed else answer_key(told.response or "")
            answers.setdefault(str(told.id), {})[told.model] = key
    for outcome in outcomes:
        given = answers.get(outcome.id, {})
        models = {
            name: replace(was, answer_key=given[name], is_answered=True) if name in given else was
            for name, was in outcome.models.items()
        }
        yield replace(outcome, models=models)


def with_costs(outcomes: Iterable[Outcome], usd: Mapping[str, str]) -> Iterator[Outcome]:
    """The outcomes with this cost of a call, in USD by model, where a line gives none."""
    nusd = {name: nusd_from_usd(amount) for name, amount in usd.items()}
    for outcome in outcomes:
        models = {
            name: replace(was, cost_nusd=nusd.get(name)) if was.cost_nusd is None else was
            for name, was in outcome.models.items()
        }
        yield replace(outcome, models=models)


def _models(told: _Line) -> dict[str, Recorded]:
    models = {
        name: _recorded(
            was.score,
            was.answer,
            was.cost_nusd if was.cost_nusd is not None else _nusd(was.cost_usd),
        )
        for name, was in told.models.items()
    }
    for name, score in told.scores.items():
        cost = _nusd(told.costs_usd.get(name))
        models.setdefault(name, _recorded(score, told.answers.get(name), cost))
    return models


def _recorded(score: float, answer: str | None, cost_nusd: int | None) -> Recorded:
    key = answer_key(answer) if answer is not None else None
    return Recorded(score, key, cost_nusd, answer is not None)


def _nusd(usd: Decimal | None) -> int | None:
    return None if usd is None else nusd_from_usd(usd)


def _parsed(shape: Any, line: bytes, number: int) -> Any:
    try:
        return shape.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "line"
        raise UsageError(f"line {number}: {field}: {first['msg']}", param=field) from None
