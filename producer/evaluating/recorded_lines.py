"""One line of recorded outcomes, whichever way it spells them: what it says of which models.

Three shapes, told apart by what stands in them: an object for each model (`models`), columns by
model (`scores`, `answers`, `costs_usd`, ...; or RouterBench's flat `MODEL|total_cost`), and one
line for each prompt and model (`model`). The spellings are listed in docs/evaluation.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

import orjson
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.domain.money import nusd_from_usd
from shared.errors import UsageError

_PROMPT: Final = ("prompt", "question", "query", "input", "messages", "instruction")
_ID: Final = ("id", "custom_id", "question_id", "prompt_id", "sample_id", "key")
_SCORE: Final = (
    *("score", "correct", "is_correct", "passed", "pass", "quality", "label", "accuracy"),
    *("performance", "reward"),
)
_VALUE: Final = ("parsed", "parsed_answer", "extracted", "extracted_answer", "prediction", "pred")
_TEXT: Final = ("answer", "response", "output", "text", "completion", "content", "model_response")
_IN: Final = ("input_tokens", "prompt_tokens", "tokens_in")
_OUT: Final = ("output_tokens", "completion_tokens", "tokens_out")
_GOLD: Final = ("gold", "reference", "ground_truth", "expected", "target", "solution")
_BY_MODEL: Final = ("models", "results", "outcomes")
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "score": ("scores", *_SCORE),
    "parsed": ("parsed_answers", "predictions", *_VALUE),
    "answer": ("answers", "responses", "outputs", "completions", *_TEXT),
    "cost_nusd": ("costs_nusd", "cost_nusd"),
    "cost_usd": ("costs_usd", "costs", "cost_usd", "cost", "total_cost"),
    "input_tokens": _IN,
    "output_tokens": _OUT,
}


def _as_text(value: Any) -> Any:
    """An answer that is JSON, a number or a truth value, as text."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _any_of(names: Iterable[str]) -> Any:
    return Field(default=None, validation_alias=AliasChoices(*names))


_Text = Annotated[str | None, BeforeValidator(_as_text)]
_Tokens = Annotated[int, Field(ge=0)]


class _Usage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    input_tokens: _Tokens | None = _any_of(_IN)
    output_tokens: _Tokens | None = _any_of(_OUT)


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore")

    score: Annotated[float, Field(ge=0, le=1)] | None = _any_of(_SCORE)
    parsed: _Text = _any_of(_VALUE)
    answer: _Text = _any_of(_TEXT)
    cost_nusd: Annotated[int, Field(ge=0)] | None = None
    cost_usd: Annotated[Decimal, Field(ge=0)] | None = _any_of(("cost_usd", "cost", "total_cost"))
    input_tokens: _Tokens | None = _any_of(_IN)
    output_tokens: _Tokens | None = _any_of(_OUT)
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says of one model's answer; None where it says nothing.

    parsed: the answer's essence, where somebody took it out. tokens: input and output.
    """

    score: float | None = None
    parsed: str | None = None
    answer: str | None = None
    cost_nusd: int | None = None
    tokens: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What one line says. gold: the right answer, where it is told."""

    place: str
    id: str | None
    prompt: str | None
    gold: str | None
    models: Mapping[str, Said]


def read_lines(lines: Iterable[bytes], name: str = "") -> Iterator[Line]:
    """Every line that is not blank; a file that is one JSON array is taken row by row.

    Raises UsageError naming line and field of the first that is wrong. name: told before the line,
    where there are several files.
    """
    for number, row in _rows(lines):
        place = f"{name}{': ' if name else ''}line {number}"
        if isinstance(row, bytes):
            row = _parsed(row, place)  # noqa: PLW2901
        if not isinstance(row, dict):
            raise UsageError(f"{place}: not an object", param="line")
        yield _line(row, place)


def _rows(lines: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    kept = list(lines)
    first = next((line for line in kept if line.strip()), b"")
    if first.lstrip().startswith(b"["):
        yield from enumerate(_parsed(b"\n".join(kept), "the file"), 1)
        return
    for number, line in enumerate(kept, 1):
        if line.strip():
            yield number, line


def _parsed(data: bytes, place: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{place}: not JSON: {error}", param="line") from None


def _line(row: Mapping[str, Any], place: str) -> Line:
    models = dict(_of_models(row, place))
    gold = next((row[name] for name in _GOLD if row.get(name) is not None), None)
    if isinstance(gold, dict):
        gold = None
    name = next((row[name] for name in _ID if row.get(name) is not None), None)
    if name is not None and not isinstance(name, str | int):
        raise UsageError(f"{place}: id: neither a text nor a number", param="id")
    prompt = _prompt(row, place)
    if prompt is None and not (name is not None and "model" in row):
        raise UsageError(f"{place}: prompt: Field required", param="prompt")
    if not models:
        message = f"{place}: neither `models` nor `scores` nor `model` names a model"
        raise UsageError(message, param="models")
    told = None if name is None else str(name)
    return Line(place, told, prompt, _as_text(gold), models)


def _prompt(row: Mapping[str, Any], place: str) -> str | None:
    for name in _PROMPT:
        said = row.get(name)
        if isinstance(said, list):
            turns = [turn.get("content") for turn in said if isinstance(turn, dict)]
            said = "\n".join(turn for turn in turns if isinstance(turn, str))
        if isinstance(said, str) and said:
            return said
        if said is not None:
            raise UsageError(f"{place}: {name}: not a text, or empty", param=name)
    return None


def _of_models(row: Mapping[str, Any], place: str) -> Iterator[tuple[str, Said]]:
    for field in _BY_MODEL:
        held = row.get(field)
        if isinstance(held, dict):
            for name, said in held.items():
                yield from _samples(name, said, f"{place}: {field}.{name}")
            return
        if isinstance(held, list) and all(isinstance(one, dict) for one in held):
            yield from _listed(held, f"{place}: {field}")
            return
    if isinstance(row.get("model"), str):
        yield row["model"], _said(row, place)
        return
    for name, column in _columns(row).items():
        yield from _samples(name, column, f"{place}: {{}}.{name}")


def _listed(rows: list[dict[str, Any]], place: str) -> Iterator[tuple[str, Said]]:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        name = row.get("model") or row.get("name")
        if not isinstance(name, str):
            raise UsageError(f"{place}.{number}.model: Field required", param="model")
        seen[name] = seen.get(name, 0) + 1
        yield sample_name(name, seen[name]), _said(row, f"{place}.{number}")


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """What columns by model say, turned into an object for each model."""
    found: dict[str, dict[str, Any]] = {}
    for field, names in _COLUMNS.items():
        held = (row[name] for name in names if isinstance(row.get(name), dict))
        column: dict[str, Any] = next(held, {})
        for model, value in column.items():
            found.setdefault(model, {})[field] = value
    for name, value in row.items():
        model, bar, what = name.partition("|")
        if bar and model in row:
            found.setdefault(model, {"score": row[model]})[what] = value
    if any("score" in said for said in found.values()) or any(row.get(g) for g in _GOLD):
        return found
    return {}


def _samples(name: str, said: Any, place: str) -> Iterator[tuple[str, Said]]:
    """One model's answer, or several of it: a list of objects, or of values in each column."""
    rows = said if isinstance(said, list) else _unzipped(said, place)
    for number, row in enumerate(rows, 1):
        yield sample_name(name, number), _said(row, place)


def _unzipped(said: Any, place: str) -> list[Any]:
    if not isinstance(said, dict):
        return [{"score": said}]
    scores = next((said[name] for name in _SCORE if isinstance(said.get(name), list)), None)
    if scores is None:
        return [said]
    several = {name: value for name, value in said.items() if isinstance(value, list)}
    if any(len(value) != len(scores) for value in several.values()):
        raise UsageError(f"{place}: lists of different lengths", param="models")
    return [
        said | {name: value[number] for name, value in several.items()}
        for number in range(len(scores))
    ]


def sample_name(model: str, number: int) -> str:
    """How a model's first, second, ... answer to the same prompt is called."""
    return model if number == 1 else f"{model} ({number})"


def _said(row: Any, place: str) -> Said:
    try:
        told = _Said.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "line"
        # The place of a column is told as its name and the model's.
        where = place.replace("{}", _column_of(field)) if "{}" in place else f"{place}: {field}"
        raise UsageError(f"{where}: {first['msg']}", param=field) from None
    cost = told.cost_nusd
    if cost is None and told.cost_usd is not None:
        cost = nusd_from_usd(told.cost_usd)
    used = told.usage or _Usage()
    inward = told.input_tokens if told.input_tokens is not None else used.input_tokens
    outward = told.output_tokens if told.output_tokens is not None else used.output_tokens
    tokens = None if inward is None or outward is None else (inward, outward)
    return Said(told.score, told.parsed, told.answer, cost, tokens)


def _column_of(field: str) -> str:
    return next((names[0] for key, names in _COLUMNS.items() if field in {key, *names}), field)
