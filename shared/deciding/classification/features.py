"""What can be seen of a prompt cheaply: its tokens, and its shape, one letter a token.

Reads the first and the last few thousand characters only: an instruction stands at the beginning
or at the end, and a prompt of a megabyte must not cost more than one of a page. One expression
takes the text apart; everything else looks at the tokens or at the shape.
"""

import re
from dataclasses import dataclass
from itertools import repeat
from typing import Final

from shared.deciding.classification.word_classes import LETTERS, OTHER, rule

HEAD_CHARS = 1800
TAIL_CHARS = 800
HEAD_TOKENS, TAIL_TOKENS = 50, 30
_ENDS_HEAD, _ENDS_TAIL = 140, 100  # tokens
_START_HEAD, _START_TAIL = 130, 60

# Words, numbers, line breaks (one for several), and any other sign by itself.
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|0+(?:[.,]0+)*|\n|[^\w\s]|_+")
_LINE_BREAKS = re.compile(r"\n\s+")
_DIGIT = re.compile("[1-9]")
_DIGITS: Final = {ord(digit): "0" for digit in "123456789"}

_CODE_LINE = rule(
    r"(?:^|\n)(?:<codeline>(?=w|0|<coded>)|<from>.{1,4}?<import>|#<include>|<let>.=|(?:<if>|<for>|<while>)\("
    r"|<print>\(|<console>\.|@w|\}|<w|</|<select>.{1,20}?<from>)|;(?=\n|$)|\{(?=\n|$)|=>|\w\(\)"
)
_FORMULA = rule(
    r"\$[^$\n]{1,60}\$|\\<latex>|(?<=0)[+*^=<>×÷](?=[0(]|<unknown>)|<unknown>=0|0<unknown>"  # noqa: RUF001
    r"|0-0="
)
_ITEM = rule(r"(?:^|\n)(?:0[.)]|[-*•](?=\w)|<choice>[.)])")
_SPEAKER = rule(r"(?:^|\n)#?\w{1,4}#?:")
_CHOICE_A, _CHOICE_B = re.compile(r"(?:^|\s)\(?A[.):]"), re.compile(r"(?:^|\s)\(?B[.):]")
_FIGURE = rule(r"0|<figure>")
_MAY_BE_CODE = re.compile(r"[({};=<@#\n]")
_MAY_BE_FORMULA = re.compile(r"[0$\\]")
_START = rule(r"(?:^|[.!?:;\n])[\"'(*>-]{0,3}(\w)(\w?)")


@dataclass(slots=True)
class Features:
    """A prompt's visible traits; nobody changes them.

    text: what was read of it. tokens: its words in lower case, numbers as noughts, other signs.
    shape: a letter for each token (`word_classes`). opening: the first word. commands: letters of
    the first two words of the sentences at either end, where instructions stand. speakers: lines
    that begin with a name and a colon.
    """

    text: str
    length: int
    tokens: list[str]
    distinct: set[str]
    shape: str
    word_count: int
    opening: str
    commands: set[str]
    numbers: int
    questions: int
    ends_with_question: bool
    fenced: bool
    code_lines: int
    formulas: int
    items: int
    speakers: int
    has_choices: bool

    @property
    def ends(self) -> str:
        """The shape of the beginning and the end, where an instruction stands."""
        if len(self.shape) <= _ENDS_HEAD + _ENDS_TAIL:
            return self.shape
        return f"{self.shape[:_ENDS_HEAD]}\n{self.shape[-_ENDS_TAIL:]}"

    @property
    def words(self) -> list[str]:
        """The words alone."""
        return [token for token in self.tokens if token[0].isalpha()]


def read_features(prompt: str) -> Features:
    """The traits of a prompt, whatever it is; costs a tenth of a millisecond at most."""
    text = prompt
    if len(prompt) > HEAD_CHARS + TAIL_CHARS:
        text = prompt[:HEAD_CHARS] + "\n" + prompt[-TAIL_CHARS:]
    text = text.strip()
    plain = text.lower()
    if _DIGIT.search(plain):
        plain = plain.translate(_DIGITS)
    if "\n" in plain:
        plain = _LINE_BREAKS.sub("\n", plain)
    tokens = _TOKEN.findall(plain)
    shape = "".join(map(LETTERS.get, tokens, repeat(OTHER)))
    questions = shape.count("?")
    lines = "\n" in shape
    return Features(
        text=text,
        length=len(prompt),
        tokens=tokens,
        distinct=set(tokens),
        shape=shape,
        word_count=sum(map(str.isalpha, tokens)),
        opening=tokens[0].partition("'")[0] if tokens else "",
        commands=_commands(tokens, shape),
        numbers=len(_FIGURE.findall(shape)),
        questions=questions,
        ends_with_question=questions > 0 and shape.endswith(("?", '?"', "?)", "?'", "?”")),
        fenced="```" in text,
        code_lines=len(_CODE_LINE.findall(shape)) if _MAY_BE_CODE.search(shape) else 0,
        formulas=len(_FORMULA.findall(shape)) if _MAY_BE_FORMULA.search(shape) else 0,
        items=len(_ITEM.findall(shape)) if lines else 0,
        speakers=len(_SPEAKER.findall(shape)) if lines else 0,
        has_choices="b" in tokens and bool(_CHOICE_A.search(text) and _CHOICE_B.search(text)),
    )


def _commands(tokens: list[str], shape: str) -> set[str]:
    spans = [(0, len(shape))]
    if len(shape) > _START_HEAD + _START_TAIL:
        spans = [(0, _START_HEAD), (len(shape) - _START_TAIL, len(shape))]
    found: set[str] = set()
    for begin, end in spans:
        for start in _START.finditer(shape, begin, end):
            found.update(tokens[start.start(1) : start.end(2)])
    return found
