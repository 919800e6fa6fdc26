"""Recorded outcomes: what each model answered to a prompt, how well, for how much.

Lines of several files may tell of one prompt: they are joined by id, or by the prompt where it has
none. What is missing afterwards is told: who was left out, and why.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from producer.evaluating.recorded_lines import Line, Said, read_lines, sample_name
from shared.deciding.comparing import answer_key, value_key
from shared.domain.money import nusd_from_usd
from shared.errors import UsageError

MOSTLY: Final = 0.9
"""Of the prompts; a model recorded for fewer takes no part, and else prompts without it do not."""

PriceOf = Callable[[str, tuple[int, int]], int | None]
"""Nano-dollars of a call of a model with so many input and output tokens, where that is known."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One model's answer. answer_key: what it says, in one spelling; cost_nusd: None where nobody
    said. chars: of the whole answer. tokens: input and output, where told.
    """

    score: float
    answer_key: str | None = None
    cost_nusd: int | None = None
    is_answered: bool = False
    chars: int = 0
    tokens: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One prompt, and what every model made of it."""

    id: str
    prompt: str
    models: Mapping[str, Recorded]


@dataclass(slots=True)
class _Gathered:
    """What the lines of one prompt said until now."""

    id: str
    place: str
    prompt: str | None = None
    gold: str | None = None
    said: dict[str, Said] = field(default_factory=dict)


def read_outcomes(*files: Iterable[bytes], names: Sequence[str] = ()) -> list[Outcome]:
    """The outcomes of these files' lines together. Raises UsageError naming line and field of the
    first that is wrong; names: what the files are called, where there are several.
    """
    gathered: dict[str, _Gathered] = {}
    for number, lines in enumerate(files):
        name = names[number] if len(files) > 1 and names else ""
        for line in read_lines(lines, name):
            _join(gathered, line)
    found = [outcome for row in gathered.values() if (outcome := _outcome(row)) is not None]
    if not found:
        raise UsageError("the file has no outcomes: no prompt with a score", param="FILE")
    return found


def with_answers(outcomes: Iterable[Outcome], lines: Iterable[bytes]) -> Iterator[Outcome]:
    """The outcomes with answers from lines `{"id", "model", "response"?, "parsed"?}`, joined by id;
    where there is a `parsed`, the answer's essence, that is compared.
    """
    answers: dict[str, dict[str, Said]] = {}
    for line in read_lines(lines):
        answers.setdefault(str(line.id), {}).update(line.models)
    for outcome in outcomes:
        given = answers.get(outcome.id, {})
        models = {
            name: _answered(was, given[name]) if name in given else was
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


def with_prices(outcomes: Iterable[Outcome], price_of: PriceOf) -> Iterator[Outcome]:
    """The outcomes with what their tokens cost, where a line tells tokens and no cost."""
    for outcome in outcomes:
        models = {
            name: replace(was, cost_nusd=price_of(name, was.tokens))
            if was.cost_nusd is None and was.tokens is not None
            else was
            for name, was in outcome.models.items()
        }
        yield replace(outcome, models=models)


def only_models(outcomes: Iterable[Outcome], names: Iterable[str]) -> list[Outcome]:
    """The outcomes of these models only. Raises UsageError for one that was recorded nowhere."""
    kept = list(outcomes)
    known = {name for outcome in kept for name in outcome.models}
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no outcome of {name!r}; recorded: {sorted(known)}", param="models")
    told = []
    for outcome in kept:
        models = {name: outcome.models[name] for name in wanted if name in outcome.models}
        if models:
            told.append(replace(outcome, models=models))
    return told


def complete(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], int, list[str]]:
    """The prompts that all who take part were recorded for; how many others there are; and who
    takes no part, for being recorded too rarely.
    """
    counts: dict[str, int] = {}
    for outcome in outcomes:
        for name in outcome.models:
            counts[name] = counts.get(name, 0) + 1
    often = {name for name, count in counts.items() if count >= MOSTLY * len(outcomes)}
    rows = [outcome for outcome in outcomes if often <= outcome.models.keys()]
    told = [
        replace(outcome, models={name: outcome.models[name] for name in sorted(often)})
        for outcome in rows
    ]
    if not often or not told:
        return list(outcomes), 0, []
    return told, len(outcomes) - len(told), sorted(counts.keys() - often)


def _join(gathered: dict[str, _Gathered], line: Line) -> None:
    key = f"id {line.id}" if line.id is not None else f"prompt {line.prompt}"
    if line.id is None and key in gathered and line.models.keys() & gathered[key].said.keys():
        key = line.place  # the same question asked again: another prompt
    row = gathered.setdefault(key, _Gathered(line.id or line.place.split()[-1], line.place))
    if line.prompt is not None and row.prompt is not None and line.prompt != row.prompt:
        raise UsageError(f"{line.place}: id: {row.place} gave it to another prompt", param="id")
    row.prompt = row.prompt if line.prompt is None else line.prompt
    row.gold = row.gold if line.gold is None else line.gold
    for model, said in line.models.items():
        name = _place_of(row, model, said)
        row.said[name] = _merged(row.said[name], said) if name in row.said else said


def _place_of(row: _Gathered, model: str, said: Said) -> str:
    """Under which name an answer is kept: one that differs from the model's first is another."""
    name, number = model, 1
    while (known := row.said.get(name)) is not None:
        if None in {known.answer or known.parsed, said.answer or said.parsed}:
            break
        if (known.answer, known.parsed) == (said.answer, said.parsed):
            break
        if known.score is None or said.score is None:
            break  # one of them is the other's text, taken out or whole
        number += 1
        name = sample_name(model, number)
    return name


def _merged(one: Said, other: Said) -> Said:
    """What two lines say of one answer; of two that tell the same thing, the first."""
    return Said(
        score=one.score if one.score is not None else other.score,
        parsed=one.parsed if one.parsed is not None else other.parsed,
        answer=one.answer if one.answer is not None else other.answer,
        cost_nusd=one.cost_nusd if one.cost_nusd is not None else other.cost_nusd,
        tokens=one.tokens or other.tokens,
    )


def _outcome(row: _Gathered) -> Outcome | None:
    """A prompt's outcome; None where nobody told the prompt or no answer has a score."""
    if row.prompt is None:
        return None
    right = answer_key(row.gold) if row.gold is not None else None
    models = {}
    for name, said in row.said.items():
        recorded = _answered(Recorded(0.0, cost_nusd=said.cost_nusd, tokens=said.tokens), said)
        score = said.score
        if score is None and right is not None and recorded.is_answered:
            score = float(recorded.answer_key == right)
        if score is not None:
            models[name] = replace(recorded, score=score)
    return Outcome(row.id, row.prompt, models) if models else None


def _answered(was: Recorded, said: Said) -> Recorded:
    """A recorded outcome with the answer that was told, if one was."""
    if said.parsed is None and said.answer is None:
        return was
    parsed = (said.parsed or "").strip()
    key = (value_key(parsed) or parsed) if parsed else answer_key(said.answer or "")
    chars = len(said.answer if said.answer is not None else parsed)
    return replace(was, answer_key=key, is_answered=True, chars=chars)
