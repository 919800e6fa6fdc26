"""What the trained model looks at: words and pairs at a prompt's two ends, shape, and rules' cues.

A signal is a short string that is there or not. Words carry a mark for where they stand: `^` opens
the prompt, `>` opens a sentence at either end. Figures become `#`, so that no number is learned.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from shared.deciding.classification.features import Features
from shared.deciding.classification.rules import Cue
from shared.deciding.classification.vocabulary import COMMANDS, NARRATION
from shared.domain.inference import TaskType

_HEAD_WORDS, _TAIL_WORDS = 40, 24
_LONGEST_INSTRUCTION = 160
_WORD = re.compile(r"[a-zà-ÿ]+")
_STEPS = (3, 6, 9, 13, 18, 25, 40, 60, 90, 140, 220, 350)
_FUNCTION_WORDS = frozenset(
    """a an the of in on at to and or is it its that this for as""".split()  # noqa: SIM905
)
# Word lists are split from text because that is how they are read and mended.
_QUESTION_WORDS = frozenset(
    """
    who what when where which whose whom how why is are was were do does did can could should has
    have will would
    """.split()  # noqa: SIM905
)


def signals_of(features: Features, cues: Sequence[Cue]) -> set[str]:
    """The signals of a prompt; `cues` are what the rules found in it."""
    found = set(_words(features))
    found.update(_shape(features))
    found.update(_rules(cues))
    return found


def _words(features: Features) -> Iterator[str]:
    words = features.words
    if len(words) <= _HEAD_WORDS + _TAIL_WORDS:
        spans = [words]
    else:
        spans = [words[:_HEAD_WORDS], words[-_TAIL_WORDS:]]
    for span in spans:
        yield from (word for word in span if word not in _FUNCTION_WORDS)
        yield from map("_".join, pairwise(span))
    if words:
        yield "^" + words[0]
        yield "^" + "_".join(words[:2])
        yield "^" + "_".join(words[:3])
    for word in features.commands:
        yield ">" + word
    yield from _outer_lines(features.text)


def _outer_lines(text: str) -> Iterator[str]:
    """The words of a short first and a short last line, where they hold the instruction."""
    first, broken, rest = text.partition("\n")
    if not broken:
        return
    last = rest.rpartition("\n")[2]
    for mark, line in (("[", first), ("]", last)):
        if len(line) <= _LONGEST_INSTRUCTION:
            words = _WORD.findall(line.lower())
            yield from (mark + word for word in words)
            yield mark + "_".join(words[:2])


def _shape(features: Features) -> Iterator[str]:
    size = sum(features.word_count > step for step in _STEPS)
    asks = features.opening in _QUESTION_WORDS
    yield f"=size {size}"
    yield f"=size {size} {asks} {features.ends_with_question}"
    yield f"=numbers {_few(features.numbers)}"
    yield f"=numbers {_few(features.numbers)} {features.ends_with_question} {size // 3}"
    yield f"=questions {_few(features.questions)} {features.ends_with_question}"
    yield f"=code {_few(features.code_lines)} {size // 3}"
    yield f"=formulas {_few(features.formulas)}"
    yield f"=items {_few(features.items)} {features.has_choices}"
    yield f"=speakers {_few(features.speakers)}"
    yield f"=lines {_few(features.text.count(chr(10)))} {size // 3}"
    yield f"=command {bool(features.commands)} {asks} {features.ends_with_question}"
    opened = _opening(features.opening)
    yield f"=opens {opened}"
    yield f"=opens {opened} {features.ends_with_question} {_few(features.numbers)}"
    yield f"=opens {opened} {features.questions > 0} {size // 2}"
    if features.fenced:
        yield "=fenced"
    if features.has_choices:
        yield "=choices"


def _opening(word: str) -> str:
    if word in _QUESTION_WORDS:
        return "asks"
    if word in COMMANDS:
        return COMMANDS[word][0].value
    return "tells" if word in NARRATION else "else"


def _few(count: int) -> int:
    """0, 1, 2, 3 for 3 to 5, 6 for 6 to 11, 12 for more."""
    return count if count <= 2 else 3 if count <= 5 else 6 if count <= 11 else 12  # noqa: PLR2004


def _rules(cues: Sequence[Cue]) -> Iterator[str]:
    points: dict[TaskType, float] = {}
    for kind, worth, reason in cues:
        points[kind] = points.get(kind, 0.0) + worth
        if not reason.startswith(("words:", "an instruction")):
            yield f"!{reason}"
    ranked = sorted(points.items(), key=lambda entry: -entry[1])
    for kind, total in ranked:
        for level in (1, 2, 3, 4.5, 6, 8):
            if total >= level:
                yield f"!{kind} {level}"
    if ranked:
        lead = ranked[0][1] - (ranked[1][1] if len(ranked) > 1 else 0.0)
        yield f"!first {ranked[0][0]}"
        for level in (1, 2, 3.5, 5):
            if lead >= level:
                yield f"!first {ranked[0][0]} {level}"
    else:
        yield "!none"
