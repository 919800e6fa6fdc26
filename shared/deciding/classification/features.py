"""What can be seen of a prompt cheaply: words, shape, code, mathematics, questions.

Reads the first and the last few thousand characters only: an instruction stands at the beginning
or at the end, and a prompt of a megabyte must not cost more than one of a page.
"""

import re
from dataclasses import dataclass

HEAD_CHARS = 1800
TAIL_CHARS = 800
_ENDS_HEAD, _ENDS_TAIL = 600, 400

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_NUMBER = re.compile(
    r"\d+(?:[.,]\d+)*|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty"
    r"|thirty|forty|fifty|sixty|seventy|eighty|ninety|\w+teen|hundred|thousand|dozen|half|twice)\b"
)
_SENTENCE_START = re.compile(
    r"(?:^|[.!?:;\n])[ \t\"'(*>-]{0,8}([^\W\d_]+)(?:[ \t]{1,4}([^\W\d_]+))?"
)
_CODE_LINE = re.compile(
    r"(?m)^[ \t]{0,40}(?:def |class |import |from \w+ import|#include|public |private |function "
    r"|const |let |var |SELECT |select .{0,80} from |return\b|if ?\(|for ?\(|while ?\(|print ?\("
    r"|console\.|<[a-zA-Z][^>]{0,80}>|\}|@\w+|package )|;[ \t]{0,8}$|\{[ \t]{0,8}$|=>|\w\(\)"
)
_LATEX = re.compile(r"\$[^$\n]{1,200}\$|\\(?:frac|sqrt|sum|int|cdot|left|begin|pi|times|angle)\b")
_OPERATORS = re.compile(r"\d ?[+*^=<>×÷] ?[\dxyzn(]|\d\s[-/]\s\d|\b[a-z] ?= ?\d|\d[xyn]\b")  # noqa: RUF001
_ITEM = re.compile(r"(?m)^[ \t]{0,40}(?:\d{1,2}[.)]|[-*•]|[A-Fa-f][.)])\s")
_SPEAKER = re.compile(r"(?m)^[ \t]{0,40}(?:#?[A-Z][\w .]{0,20}#?):\s")
_CHOICE_A = re.compile(r"(?:^|\s)\(?A[.):]\s?")
_CHOICE_B = re.compile(r"(?:^|\s)\(?B[.):]\s?")


@dataclass(frozen=True, slots=True)
class Features:
    """A prompt's visible traits. `text` is what was read of it; `words` are lower case.

    opening: the first word. commands: the first two words of the sentences at either end, where
    instructions stand. speakers: lines that begin with a name and a colon.
    """

    text: str
    length: int
    words: tuple[str, ...]
    distinct: frozenset[str]
    opening: str
    commands: frozenset[str]
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
        """The beginning and the end, where an instruction stands."""
        if len(self.text) <= _ENDS_HEAD + _ENDS_TAIL:
            return self.text
        return f"{self.text[:_ENDS_HEAD]}\n{self.text[-_ENDS_TAIL:]}"

    @property
    def word_count(self) -> int:
        """Words read (of a long prompt: of its two ends)."""
        return len(self.words)


def read_features(prompt: str) -> Features:
    """The traits of a prompt, whatever it is; costs less than half a millisecond."""
    text = prompt
    if len(prompt) > HEAD_CHARS + TAIL_CHARS:
        text = prompt[:HEAD_CHARS] + "\n" + prompt[-TAIL_CHARS:]
    stripped = text.strip()
    words = tuple(_WORD.findall(stripped.lower()))
    starts = _SENTENCE_START.findall(stripped[:600]) + _SENTENCE_START.findall(stripped[-250:])
    return Features(
        text=stripped,
        length=len(prompt),
        words=words,
        distinct=frozenset(words),
        opening=words[0].partition("'")[0] if words else "",
        commands=frozenset(word.lower() for pair in starts for word in pair if word),
        numbers=len(_NUMBER.findall(stripped)),
        questions=stripped.count("?") + stripped.count("？") + stripped.count("؟"),  # noqa: RUF001
        ends_with_question=stripped.endswith(("?", "？", "؟", '?"')),  # noqa: RUF001
        fenced="```" in stripped,
        code_lines=len(_CODE_LINE.findall(stripped)),
        formulas=len(_LATEX.findall(stripped)) + len(_OPERATORS.findall(stripped)),
        items=len(_ITEM.findall(stripped)),
        speakers=len(_SPEAKER.findall(stripped)),
        has_choices=bool(_CHOICE_A.search(stripped) and _CHOICE_B.search(stripped)),
    )
