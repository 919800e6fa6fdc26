"""Whether an answer is good enough, by checks that cost nothing and always say the same.

Each check is one function that finds a weakness or nothing. They look for what is certainly wrong
(empty, cut off, refused, not the JSON that was asked for, code that does not parse) and for doubt
the model itself voices. A short answer is no weakness: among right answers short ones are common.
What no check can see, whether the content is true, is left to the judges that cost money.

Nothing here raises, whatever a model answered, and no answer costs more than a few milliseconds.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.deciding.structured_answers import (
    broken_arguments,
    broken_code,
    not_json,
    schema_violation,
)
from shared.domain.decisions import Verdict
from shared.domain.inference import Completion, FinishReason, Request, TaskType
from shared.domain.values import made_often

_OPENING_CHARS: Final = 240
_DOUBT_CHARS: Final = 4_000
_SHORT_CHARS: Final = 600
_LOW_LOGPROB: Final = -1.2
"""Mean log-probability per token; a fluent answer has -0.1 to -0.6, a guessed one falls below."""

_REFUSAL = re.compile(
    r"^\W*(?:(?:i'?m|i am) (?:really |very |so )?sorry|sorry|unfortunately|i apologi[sz]e|apologies"
    r"|as an ai(?: language model| assistant)?|i'?m just an ai)?\W*(?:but )?(?:\w+,? )?"
    r"i(?:'m| am)? ?(?:can'?t|can ?not|could not|won'?t|will not|unable to|not able to"
    r"|not allowed to"
    r"|must decline|have to decline|decline)"
    r"(?: (?:be able to|to))? (?:help|assist|provide|do|fulfil|comply|create|write|generate|answer"
    r"|engage|support|continue|share|discuss|give|offer|produce|complete|with|that|this)",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\bi(?:'m| am) not (?:entirely |completely |quite |really |very )?(?:sure|certain|confident)\b"
    r"|\bi (?:do not|don't) (?:really |actually )?know\b|\bi(?:'m| am) (?:just )?guessing\b"
    r"|\bi (?:cannot|can't) (?:be (?:certain|sure)|say for (?:certain|sure)|verify)\b"
    r"|\bit(?:'s| is) (?:hard|difficult) to say\b|\bi may be wrong\b|\bi might be wrong\b"
    r"|\bmy best guess\b|\bnot enough information\b|\bi (?:have|had) no idea\b",
    re.IGNORECASE,
)


_WORDS_OF_DOUBT: Final = (
    "sure", "certain", "confident", " know", "guess", "verify", "to say", "be wrong",
    "enough information", "no idea",
)  # fmt: skip
"""One of them stands in whatever `_DOUBT` finds. Looking for them first takes 1 µs instead of 10
for a short answer, and most answers hold none."""


@made_often(frozen=True, slots=True)
class Answer:
    """What is judged: the request, what came back (text: without white space around it), and what
    kind of work it was.
    """

    request: Request
    completion: Completion
    task_type: TaskType
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A weakness. `worth` is what the answer is still worth; at `_GOOD_ENOUGH` it is accepted."""

    reason: str
    worth: float


_GOOD_ENOUGH: Final = 0.75


def judge(request: Request, completion: Completion, task_type: TaskType) -> Verdict:
    """Hold an answer against every check; accepted where none finds a real weakness. Embeddings
    say nothing that could be weak.
    """
    if request.embed is not None:
        return Verdict(accepted=True, score=1.0)
    answer = Answer(request, completion, task_type, completion.text.strip())
    findings = [finding for check in CHECKS if (finding := check(answer)) is not None]
    if not findings:
        return Verdict(accepted=True, score=1.0)
    score = 1.0
    for finding in findings:
        score *= finding.worth
    return Verdict(
        accepted=all(finding.worth >= _GOOD_ENOUGH for finding in findings),
        score=score,
        reasons=tuple(finding.reason for finding in findings),
    )


def empty(answer: Answer) -> Finding | None:
    """No text, and no tool called instead."""
    if answer.text or answer.completion.has_tool_calls or refused(answer):
        return None
    return Finding("empty", 0.02)


def truncated(answer: Answer) -> Finding | None:
    """Cut off at its limit of tokens. Climbs as other weaknesses do, though a stronger model has
    the same limit: it often says the same in fewer words.
    """
    if answer.completion.finish_reason is not FinishReason.LENGTH:
        return None
    return Finding("truncated at the limit of output tokens", 0.5 if answer.text else 0.05)


def refused(answer: Answer) -> Finding | None:
    """The provider's filter or refusal field, or a text that begins by declining and ends soon."""
    completion = answer.completion
    if completion.refusal or completion.finish_reason is FinishReason.CONTENT_FILTER:
        return Finding("refused", 0.1)
    if len(answer.text) < 2 * _SHORT_CHARS and _REFUSAL.match(answer.text[:_OPENING_CHARS]):
        return Finding("declines to answer", 0.15)
    return None


def hedging(answer: Answer) -> Finding | None:
    """Doubt that the model voices. Weak only where it fills the answer: in a short one twice, or as
    its first words; elsewhere it is noted. Characters of a story may doubt as they like.
    """
    if answer.task_type is TaskType.CREATIVE:
        return None
    text = answer.text[:_DOUBT_CHARS]
    plain = text.casefold()
    if not any(word in plain for word in _WORDS_OF_DOUBT):
        return None
    doubts = [match.start() for match in _DOUBT.finditer(text)]
    if not doubts:
        return None
    strong = len(answer.text) < _SHORT_CHARS and (len(doubts) > 1 or doubts[0] < len("Well, "))
    return Finding("doubts its own answer", 0.45 if strong else 0.85)


def wrong_form(answer: Answer) -> Finding | None:
    """Not the JSON that was asked for, or not as its schema wants it."""
    if answer.completion.has_tool_calls or not answer.text or not answer.request.wants_json:
        return None
    if refused(answer):
        return None
    if problem := not_json(answer.text):
        return Finding(problem, 0.2)
    if problem := schema_violation(answer.request.response_format, answer.text):
        return Finding(problem, 0.3)
    return None


def unparsable_code(answer: Answer) -> Finding | None:
    """A fenced block, marked as Python or JSON, that does not parse."""
    if answer.task_type is not TaskType.CODING or answer.request.wants_json:
        return None
    problem = broken_code(answer.text)
    return Finding(problem, 0.35) if problem else None


def unparsable_arguments(answer: Answer) -> Finding | None:
    """A tool call whose arguments are no JSON object."""
    if not answer.completion.has_tool_calls:
        return None
    problem = broken_arguments(answer.completion.body)
    return Finding(problem, 0.2) if problem else None


def improbable(answer: Answer) -> Finding | None:
    """Tokens that the model itself found unlikely, where the provider says so."""
    logprob = answer.completion.mean_logprob
    if logprob is None or logprob >= _LOW_LOGPROB:
        return None
    return Finding(f"low mean logprob ({logprob:.2f})", 0.5)


CHECKS: Final[tuple[Callable[[Answer], Finding | None], ...]] = (
    empty,
    truncated,
    refused,
    hedging,
    wrong_form,
    unparsable_code,
    unparsable_arguments,
    improbable,
)
"""In the order in which their reasons are given; a new check is one function and one line here."""
