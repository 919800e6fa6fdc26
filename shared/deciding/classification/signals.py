"""What the trained model looks at: words and pairs at a prompt's two ends, shape, and rules' cues.

A signal is there or not. A word is a string, a pair of neighbours a tuple, what else there is to
see a string or a tuple whose first string begins with a mark (`=` shape, `!` cues, `<` place).
Figures are noughts, so that no number is learned. `told` gives a signal's form in a file.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from itertools import pairwise, repeat
from typing import Final

from shared.deciding.classification.features import HEAD_TOKENS, TAIL_TOKENS, Features
from shared.deciding.classification.rules import Cue
from shared.deciding.classification.vocabulary import COMMANDS, NARRATION
from shared.domain.inference import TaskType

BEGIN: Final = "<begin>"
END: Final = "<end>"
COMMAND: Final = "<command>"
FIRST: Final = "<first>"
LAST: Final = "<last>"
"""Stand in a tuple for where its words are; no token looks like them."""

_LONGEST_INSTRUCTION = 30  # tokens
_OPENING, _CLOSING = 16, 10  # tokens
_FEW = (0, 1, 2, 3, 3, 3, 6, 6, 6, 6, 6, 6)
_TOTALS = (1, 2, 3, 4.5, 6, 8)  # points of a task type
_LEADS = (1, 2, 3.5, 5)  # over the second
_TOTAL_SIGNALS = {kind: [(f"!{kind}", level) for level in _TOTALS] for kind in TaskType}
_LEAD_SIGNALS = {
    kind: [("!first", kind.value), *((f"!first-{kind}", level) for level in _LEADS)]
    for kind in TaskType
}
_STEPS = (3, 6, 9, 13, 18, 25, 40, 60, 90, 140, 220, 350)
# Word lists are split from text because that is how they are read and mended.
_QUESTION_WORDS = frozenset(
    """
    who what when where which whose whom how why is are was were does do did can could should has
    have will would
    """.split()  # noqa: SIM905
)


def signals_of(features: Features, cues: Sequence[Cue]) -> set[Hashable]:
    """The signals of a prompt; `cues` are what the rules found in it."""
    tokens = features.tokens
    if len(tokens) <= HEAD_TOKENS + TAIL_TOKENS:
        found: set[Hashable] = set(features.distinct)
        found.update(pairwise([BEGIN, *tokens, END]))
    else:
        head, tail = tokens[:HEAD_TOKENS], tokens[-TAIL_TOKENS:]
        found = {*head, *tail}
        found.update(pairwise([BEGIN, *head]))
        found.update(pairwise([*tail, END]))
    found.add((BEGIN, *tokens[:2]))
    found.add((BEGIN, *tokens[:3]))
    found.update(zip(repeat(COMMAND), features.commands))
    if "\n" in features.distinct:
        _add_outer_lines(found, tokens)
    _add_shape(found, features)
    _add_rules(found, cues)
    return found


def opening_and_closing_words(features: Features) -> set[str]:
    """The tokens whose meaning counts: where an instruction stands."""
    tokens = features.tokens
    if len(tokens) <= _OPENING + _CLOSING:
        return features.distinct
    return {*tokens[:_OPENING], *tokens[-_CLOSING:]}


def _add_outer_lines(found: set[Hashable], tokens: list[str]) -> None:
    """The words of a short first and a short last line, where they hold the instruction."""
    first = tokens[: tokens.index("\n")]
    last = tokens[len(tokens) - tokens[::-1].index("\n") :]
    for mark, line in ((FIRST, first), (LAST, last)):
        if len(line) <= _LONGEST_INSTRUCTION:
            found.update(zip(repeat(mark), line))
            found.add((mark, *line[:2]))


def _add_shape(found: set[Hashable], features: Features) -> None:
    size = bisect_left(_STEPS, features.word_count)
    asks = features.opening in _QUESTION_WORDS
    ends = features.ends_with_question
    numbers = _few(features.numbers)
    opened = _opening(features.opening)
    third = size // 3
    found.update(
        (
            ("=size", size),
            ("=asks", size, asks, ends),
            ("=numbers", numbers),
            ("=counted", numbers, ends, third),
            ("=questions", _few(features.questions), ends),
            ("=code", _few(features.code_lines), third),
            ("=formulas", _few(features.formulas)),
            ("=items", _few(features.items), features.has_choices),
            ("=speakers", _few(features.speakers)),
            ("=lines", _few(features.shape.count("\n")), third),
            ("=command", bool(features.commands), asks, ends),
            ("=opens", opened),
            ("=ends", opened, ends, numbers),
            ("=open", opened, features.questions > 0, size // 2),
        )
    )
    if features.fenced:
        found.add("=fenced")
    if features.has_choices:
        found.add("=choices")


def _opening(word: str) -> str:
    if word in _QUESTION_WORDS:
        return "asks"
    if word in COMMANDS:
        return COMMANDS[word][0].value
    return "tells" if word in NARRATION else "else"


def _few(count: int) -> int:
    """0, 1, 2, 3 for 3 to 5, 6 for 6 to 11, 12 for more."""
    return _FEW[count] if count < len(_FEW) else 12


def _add_rules(found: set[Hashable], cues: Sequence[Cue]) -> None:
    points: dict[TaskType, float] = {}
    for kind, worth, reason in cues:
        points[kind] = points.get(kind, 0.0) + worth
        if not reason.startswith(("words:", "an instruction")):
            found.add(f"!{reason}")
    if not points:
        found.add("!none")
        return
    ranked = sorted(points.items(), key=lambda entry: -entry[1])
    for kind, total in ranked:
        found.update(_TOTAL_SIGNALS[kind][: bisect_right(_TOTALS, total)])
    best = ranked[0][0]
    lead = ranked[0][1] - (ranked[1][1] if len(ranked) > 1 else 0.0)
    found.update(_LEAD_SIGNALS[best][: 1 + bisect_right(_LEADS, lead)])


def told(signal: Hashable) -> str | list[str | float]:
    """A signal as JSON has it."""
    if isinstance(signal, tuple):
        return list(signal)
    return str(signal)


def parsed(signal: str | Sequence[str | float]) -> Hashable:
    """The signal that `told` told."""
    return signal if isinstance(signal, str) else tuple(signal)
