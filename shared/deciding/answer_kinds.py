"""What kind of answer a prompt asks for, as far as it says so: what answers are learned by. Pure.

A kind has a name and a usual length to start from. It is what the prompt asks for in so many words
("only the letter", "in one sentence", "500 words"), what a limit below the usual length leaves of
its task type, or else its task type. Beside it stand marks of the template that a prompt may be
made from: how it begins, how it ends, the stored template's name. Prompts of one template share a
mark, in this batch and the next, and their answers resemble each other far more than those of a
task type do.

What is asked for is read at a prompt's beginning and end only, where instructions stand; what lies
between is material. A model need not obey: what it wrote is learned for the kind all the same.
"""

import re
from dataclasses import dataclass, replace
from hashlib import blake2s
from math import log
from typing import Final

from shared.deciding.estimation import EXPECTED_OUTPUT_TOKENS
from shared.domain.inference import Request, TaskType, text_of

_READ_CHARS: Final = 240  # of a prompt's beginning and of its end
_MARK_WORDS: Final = 4
_MADE, _BEGINS, _ENDS = MARKS = ("made:", "begins:", "ends:")
"""What a mark's name starts with: of a stored template, a beginning, an end."""
_TOKENS_PER_WORD: Final = 1.35
_SMALL_SHARE: Final = 0.5  # of a usual answer: a limit below it says how much is wanted
_MOST_WORDS: Final = 20_000

# Of a logarithm: how far the priors may be off, by how plainly a length was asked for.
_DOUBT_OF_TASK: Final = 0.8
_DOUBT_OF_WORDS: Final = 0.6
_DOUBT_OF_PHRASE: Final = 1.2

_FARTHEST: Final = 1.6  # standard deviations

LIMITED: Final = "limit:"
TASKS: Final = frozenset(task_type.value for task_type in TaskType)
_OF_WORDS: Final = "words:"

_PHRASES: Final = (
    (
        "word",
        12.0,  # with what some models put around it
        re.compile(
            r"\b(?:only|just|exactly|simply)\b[^.\n]{0,30}?\b(?:the|a|one|single) "
            r"(?:\w+ )?(?:letter|number|digit|word|option|choice|label|category|name)\b"
            r"|\b(?:one|a single|1)[- ]word\b|\b(?:yes or no|yes/no|true or false)\b"
            r"|\b(?:letter|number|digit|word|label) only\b",
            re.IGNORECASE,
        ),
    ),
    (
        "sentence",
        35.0,
        re.compile(r"\b(?:one|a single|1)(?: \w+)? sentence\b|\bone[- ]liner?\b", re.IGNORECASE),
    ),
    (
        "sentences",
        75.0,
        re.compile(r"\b(?:two|three|2|3|a few|2-3)(?: \w+)? sentences\b", re.IGNORECASE),
    ),
)
_WORDS: Final = re.compile(r"\b(\d{1,2},\d{3}|\d{1,5})[- ]words?\b", re.IGNORECASE)
_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class AnswerKind:
    """name: of the kind. tokens: of a usual answer, before any was seen. doubt: standard deviation
    of the logarithm of what that may be off. limits: the kind that a small limit cuts, whose
    answers tell of it until its own are known. marks: of the template it may be made from.
    """

    name: str
    tokens: float
    doubt: float
    limits: "AnswerKind | None" = None
    marks: tuple[str, ...] = ()


def is_mark(kind: str) -> bool:
    """Whether this is the mark of a template, and no kind's name."""
    return kind.startswith(MARKS)


def limit_of(kind: str) -> float:
    """The limits that make this kind, in tokens: the least of them; the greatest is twice that."""
    return 0.5 * 2.0 ** int(kind.split(":")[1])


def usual_tokens(kind: str) -> float | None:
    """How long answers of the kind of this name usually are; None where its name does not tell."""
    if kind in TASKS:
        return EXPECTED_OUTPUT_TOKENS[TaskType(kind)]
    if kind.startswith(_OF_WORDS):
        return _TOKENS_PER_WORD * 0.75 * 2.0 ** int(kind.removeprefix(_OF_WORDS))
    return next((tokens for name, tokens, _ in _PHRASES if name == kind), None)


def kind_of_task(task_type: TaskType) -> AnswerKind:
    """The kind of a prompt that says nothing of the length it wants."""
    return AnswerKind(task_type.value, EXPECTED_OUTPUT_TOKENS[task_type], _DOUBT_OF_TASK)


def kind_of(request: Request, task_type: TaskType) -> AnswerKind:
    """The kind of answer that a request asks for."""
    text = request.last_user_text
    asked = _asked(request, text, task_type)
    return replace(asked, marks=_marks(request, text))


def _asked(request: Request, text: str, task_type: TaskType) -> AnswerKind:
    read = text if len(text) < 2 * _READ_CHARS else f"{text[:_READ_CHARS]}\n{text[-_READ_CHARS:]}"
    usual = kind_of_task(task_type)
    if (wished := _WORDS.search(read)) is not None:
        words = min(_MOST_WORDS, int(wished[1].replace(",", "")))
        if words > 1:
            name = f"{_OF_WORDS}{words.bit_length()}"
            return _wished(name, words * _TOKENS_PER_WORD, _DOUBT_OF_WORDS, usual)
    for name, tokens, phrase in _PHRASES:
        if phrase.search(read) is not None:
            return _wished(name, tokens, _DOUBT_OF_PHRASE, usual)
    limit = request.max_tokens
    if limit is not None and 0 < limit < _SMALL_SHARE * usual.tokens:
        name = f"{LIMITED}{limit.bit_length()}:{task_type}"
        return replace(usual, name=name, limits=usual)
    if request.wants_json:
        return AnswerKind("json", usual.tokens, _DOUBT_OF_TASK)
    return usual


def _wished(name: str, tokens: float, doubt: float, usual: AnswerKind) -> AnswerKind:
    """Of a wish for a length it is not known at first whether the model heeds it, and whether it
    thinks at length before: the usual length of the task must lie within what is expected.
    """
    unheeded = abs(log(usual.tokens / tokens)) / _FARTHEST
    return AnswerKind(name, tokens, max(doubt, unheeded))


def _marks(request: Request, text: str) -> tuple[str, ...]:
    system = "\n".join(
        text_of(message.get("content"))[:_READ_CHARS]
        for message in request.messages
        if message.get("role") != "user"
    )
    limit = 0 if request.max_tokens is None else request.max_tokens.bit_length()
    frame = f"{system}\0{limit}\0{request.wants_json}\0"
    first = text[:_READ_CHARS].lower().split(None, _MARK_WORDS)[:_MARK_WORDS]
    last = text[-_READ_CHARS:].lower().rsplit(None, _MARK_WORDS)[-_MARK_WORDS:]
    ends = (_mark(_BEGINS, frame, first), _mark(_ENDS, frame, last))
    if request.template is None:
        return ends
    return (_mark(_MADE, frame, [request.template]), *ends)


def _mark(what: str, frame: str, words: list[str]) -> str:
    told = frame + _DIGITS.sub("#", " ".join(words))
    return f"{what}{blake2s(told.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"
