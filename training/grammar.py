r"""Prompts out of the seed files: a small grammar of slots, alternatives and numbers.

A seed file has headings (`== name`); under `prompts` and in texts, one line is
one form; elsewhere a line is a list parted by `|`. In a form, «a|b» is a choice, which
may hold further choices, «name» a line of that heading, «#2-90» a number, and \n a new line.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).parent / "seeds"
SHARED = ("words", "passages", "snippets", "materials")
_BY_LINE = ("passages", "snippets", "materials")  # texts, whose lines are not lists
_DEEPEST = 12
_NUMBER = re.compile(r"#(\d+)-(\d+)")
# Headings that are also plain words of prompts: inside a choice they stand for themselves.
_WORDS_TOO = frozenset({"table", "error", "series", "name", "q"})


@dataclass(frozen=True, slots=True)
class Form:
    """One line of a seed file that becomes prompts; `name` is the file and the line's number."""

    name: str
    text: str


class Grammar:
    """The headings of some seed files, and how their forms are filled."""

    def __init__(self, *files: str) -> None:
        """Read these seed files (without `.txt`); a later heading replaces an earlier one."""
        self._slots: dict[str, list[str]] = {}
        self._in_choices: set[str] = set()
        self.forms: list[Form] = []
        for file in files:
            self._read(file)

    def _read(self, file: str) -> None:
        heading = ""
        for number, line in enumerate((SEEDS / f"{file}.txt").read_text("utf-8").splitlines(), 1):
            if line.startswith("== "):
                heading = line.removeprefix("== ")
                if heading != "prompts":
                    self._slots[heading] = []
                    if file not in _BY_LINE and heading not in _WORDS_TOO:
                        self._in_choices.add(heading)
            elif heading == "prompts":
                self.forms.append(Form(f"{file}:{number}", line))
            else:
                self._slots[heading] += [line] if file in _BY_LINE else _split(line)

    def fill(self, text: str, chance: random.Random, depth: int = 0) -> str:
        """A form with every choice made; a name without a heading is kept as it stands."""
        if depth > _DEEPEST:
            raise ValueError(f"seeds nest too deep: {text[:80]!r}")
        parts: list[str] = []
        at = 0
        while (start := text.find("«", at)) >= 0:
            end = _closing(text, start)
            parts += [text[at:start], self._choose(text[start + 1 : end], chance, depth)]
            at = end + 1
        filled = "".join([*parts, text[at:]])
        return filled if depth else filled.replace("\\n", "\n").replace("\\t", "\t").strip()

    def _choose(self, inside: str, chance: random.Random, depth: int) -> str:
        options = _split(inside)
        chosen = chance.choice(options)
        if len(options) == 1 or chosen in self._in_choices:
            chosen = chance.choice(self._slots.get(chosen, [chosen]))
        if number := _NUMBER.fullmatch(chosen):
            return str(chance.randint(int(number[1]), int(number[2])))
        return self.fill(chosen, chance, depth + 1)

    def prompts(self, each: int, chance: random.Random) -> Iterator[tuple[str, str]]:
        """(form's name, prompt): `each` different ones of every form, fewer where it has fewer."""
        for form in self.forms:
            found = dict.fromkeys(
                _worn(self.fill(form.text, chance), chance) for _ in range(each * 2)
            )
            for prompt in list(found)[:each]:
                yield form.name, prompt


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        if text[at] == "«":
            depth += 1
        elif text[at] == "»":
            depth -= 1
            if not depth:
                return at
    raise ValueError(f"a « without its »: {text[start : start + 60]!r}")


def _split(inside: str) -> list[str]:
    options, depth, at = [], 0, 0
    for index, char in enumerate(inside):
        depth += (char == "«") - (char == "»")
        if char == "|" and not depth:
            options.append(inside[at:index])
            at = index + 1
    return [*options, inside[at:]]


_GREETINGS = ("Hi, ", "Hello! ", "hey ", "Please ", "please ", "Can you help me? ", "I need help. ")
_ENDINGS = (" Thanks!", " Thank you.", " please", " Be brief.", " Explain.", " in English", "\n")


def _worn(prompt: str, chance: random.Random) -> str:
    """As people type: now and then lower case, a lost full stop, a greeting, thanks."""
    roll = chance.random()
    if roll < 0.12:
        return prompt.lower()
    if roll < 0.20:
        return prompt.rstrip(".?!:")
    if roll < 0.25:
        return chance.choice(_GREETINGS) + prompt
    if roll < 0.29:
        return prompt + chance.choice(_ENDINGS)
    return prompt
