"""Cues: what speaks for a task type by rule, with the points it is worth and a reason in words.

The rules look at a prompt's shape, where each word is a letter, so that they are small. No cue
decides: the trained model weighs them with everything else.
"""

# The numbers are the rules themselves.
# ruff: noqa: PLR2004

from collections.abc import Iterator
from typing import Final

from shared.deciding.classification.features import Features
from shared.deciding.classification.vocabulary import (
    ANYWHERE,
    ASKING,
    COMMANDS,
    NARRATION,
    QUESTIONS,
)
from shared.deciding.classification.word_classes import rule
from shared.domain.decisions import Classification
from shared.domain.inference import TaskType

CODING, CREATIVE, ANALYSIS = TaskType.CODING, TaskType.CREATIVE, TaskType.ANALYSIS
REASONING, QA = TaskType.COMPLEX_REASONING, TaskType.SIMPLE_QA

Cue = tuple[TaskType, float, str]

# Two sets meet faster than a set and the keys of a dictionary.
_WORDS: Final = frozenset(ANYWHERE)
_COMMANDS: Final = frozenset(COMMANDS)

_MAX_WORD_POINTS: Final = 6.0
_MAX_REASONS: Final = 4
NOTHING_TO_READ: Final = Classification(QA, 0.1, 0.2, ("no words to go by",))

_CODE_REQUEST = rule(r"(?:<make>|<give><me>).{0,12}?(?:<coded>|<regular><expression>)")
_GENRE_REQUEST = rule(r"(?:<compose>|<come><up><with>|<give><me>).{0,10}?<genre>")
_QUANTITY = rule(
    r"<how><measure>|<what><is>?<the><amount>|<find>(?:<the>|<all>|<a>)|<solve>|<what><percent>"
)
_LOGIC = rule(
    r"<which><one>?<of><the><following>|<if><the><above>?<statement>|<must><also>?<be><true>"
    r"|<can><be><infer>|<most>(?:<seriously>|<effectively>)?<weaken>|<step>-?<by>-?<step>"
    r"|<prove><that>|<true><or><false>"
)
_GIVEN_TEXT = rule(r"<pointing>\w?<read>")
_SORTING = rule(
    r"<sorting>|<identify><whether>|<tell><me><whether>|<which><of>(?:<these>|<the><following>)<is>"
    r"|<is><this><judged>|<rate><or><rate>|<stars>.{0,6}?(?:0|<one>)|<in><a><nutshell>|<sum><up>"
    r"|<tl>;?<dr>|<main><point>|<key><point>|<do><the>|<mean><the><same>"
)
_LANGUAGE = rule(
    r"<language>\+\+|<language>#|\.<net>|<tool>|<shell><scripted>|<in><language>|<code><snippet>"
    r"|<unit>(?:<test>|<tests>)|<data><structure>|<time><complexity>|<for><loop>|<one>-<liner>"
    r"|<select>\*"
)
_ROLE = rule(
    r"<act><as>|<pretend>(?:<to><be>|<somebody>)|<roleplay>|<role>-?<play>|<play><the><role>"
    r"|<in><the><part><of>|<you><is>(?:<going><to>|<now>)|<imagine><somebody>"
    r"|<simulate><a><conversation>|<text>-?<based>"
)


def is_blank(features: Features) -> bool:
    """Whether there is nothing to go by."""
    return not features.word_count and not features.formulas


def cues_of(features: Features) -> list[Cue]:
    """All cues of a prompt, the strongest first."""
    return sorted(_cues(features), key=lambda cue: -cue[1])


def reasons_for(kind: TaskType, cues: list[Cue]) -> tuple[str, ...]:
    """The strongest cues that speak for a task type, in words."""
    return tuple(text for spoken_for, _, text in cues if spoken_for is kind)[:_MAX_REASONS]


def _cues(features: Features) -> Iterator[Cue]:
    yield from _word_cues(features)
    yield from _code_cues(features)
    yield from _reasoning_cues(features)
    yield from _reading_cues(features)
    yield from _writing_cues(features)
    yield from _question_cues(features)


def _word_cues(features: Features) -> Iterator[Cue]:
    found: dict[TaskType, list[tuple[float, str]]] = {}
    # In order, since of two equal cues the first counts: every process decides alike.
    for word in sorted(features.distinct & _WORDS):
        kind, worth = ANYWHERE[word]
        found.setdefault(kind, []).append((worth, word))
    # A long prompt meets many words by chance: each one says less.
    damping = min(1.0, 60 / max(1, features.word_count)) ** 0.5
    for kind, words in found.items():
        words.sort(key=lambda entry: (-entry[0], entry[1]))
        worth = min(_MAX_WORD_POINTS, sum(points for points, _ in words) * damping)
        yield kind, worth, "words: " + ", ".join(word for _, word in words[:3])
    for word in sorted(features.commands & _COMMANDS):
        kind, worth = COMMANDS[word]
        yield kind, worth * damping, f"an instruction opens with {word!r}"


def _code_cues(features: Features) -> Iterator[Cue]:
    if features.fenced:
        yield CODING, 3.0, "fenced code"
    if features.code_lines >= 2:
        yield CODING, min(4.0, 0.8 * features.code_lines), "lines of code"
    if _CODE_REQUEST.search(features.shape[:100]):
        yield CODING, 3.0, "asks for code"
    if _LANGUAGE.search(features.shape[:140]):
        yield CODING, 3.0, "names a language or tool of programming"


def _reasoning_cues(features: Features) -> Iterator[Cue]:
    if features.formulas and not features.fenced and features.code_lines < 3:
        dense = features.formulas / max(10, features.word_count)
        yield REASONING, min(5.0, 1.0 + features.formulas + 10 * dense), "formulas"
    asks = _QUANTITY.search(features.shape[-110:]) is not None
    if asks and features.numbers >= 2:
        yield REASONING, min(6.0, 3.5 + 0.5 * features.numbers), "figures and a quantity asked for"
    elif asks and features.numbers:
        yield REASONING, 1.5, "a quantity asked for"
    if features.has_choices:
        yield REASONING, 3.0, "answers to choose from"
    if _LOGIC.search(features.ends):
        yield REASONING, 2.5, "a logical question"


def _reading_cues(features: Features) -> Iterator[Cue]:
    shape, words = features.shape, features.word_count
    if _GIVEN_TEXT.search(features.ends):
        yield ANALYSIS, 2.5, "refers to a given text"
    if _SORTING.search(shape[:70]) or _SORTING.search(shape[-70:]):
        yield ANALYSIS, 3.0, "asks to sort, extract or sum up"
    if features.fenced or features.code_lines >= 3:
        return
    if words > 120:
        yield ANALYSIS, min(4.0, words / 80), "a long text to read"
    if features.speakers >= 3 and not features.has_choices:
        yield ANALYSIS, 3.0, "a conversation to read"
    if words > 40 and features.opening in QUESTIONS and features.numbers < words / 12:
        yield ANALYSIS, 2.5, "a question with a text to answer it from"


def _writing_cues(features: Features) -> Iterator[Cue]:
    if _GENRE_REQUEST.search(features.shape[:70]):
        yield CREATIVE, 3.5, "asks for a piece of writing"
    if _ROLE.search(features.shape[:100]):
        yield CREATIVE, 3.5, "asks to play a part"
    words = features.word_count
    told = not features.ends_with_question and features.commands.isdisjoint(_COMMANDS)
    plain = not features.formulas and not features.code_lines and features.speakers < 2
    if told and plain and 8 <= words <= 120 and features.opening not in QUESTIONS:
        worth = 3.0 if features.opening in NARRATION else 2.0
        yield CREATIVE, worth, "a situation, no question"


def _question_cues(features: Features) -> Iterator[Cue]:
    words = features.word_count
    if words > 40 or features.fenced or features.code_lines:
        return
    if features.opening in QUESTIONS and features.numbers <= 2:
        yield QA, 5.0 if words <= 20 else 3.0, "a short question"
    elif (
        words <= 16
        and not features.distinct.isdisjoint(ASKING)
        and features.commands.isdisjoint(_COMMANDS)
    ):
        yield QA, 2.0, "a question within"
    if features.ends_with_question and features.questions == 1 and features.numbers <= 2:
        yield QA, 1.5, "one question"
    if words <= 12:
        yield QA, 1.0, "very short"
