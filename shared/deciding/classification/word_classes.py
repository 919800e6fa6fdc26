"""Words that mean the same to the rules, a letter for each class: a prompt becomes a short string.

Rules over that string ("a word that asks for making, then within twelve words one for code") are
small, and one pass over the words serves all of them.
"""

# Word lists are split from text because that is how they are read and mended.
# ruff: noqa: SIM905

import re
from collections import defaultdict
from typing import Final

_CLASSES: Final = {
    "make": "write create implement build design construct develop generate make",
    "coded": """
        function functions program programs script scripts query queries code class classes regex
        algorithm algorithms api html css sql command commands method methods webpage website
        application component""",
    "compose": "write compose create craft draft generate tell describe",
    "genre": """
        story stories poem poems haiku song songs lyrics essay essays article articles blog slogan
        slogans tagline taglines title titles headline headlines speech speeches tweet tweets post
        posts letter letters email emails dialogue dialogues script scripts scene scenes joke jokes
        limerick limericks sonnet sonnets advertisement advertisements ad ads description
        descriptions biography caption captions review reviews rap paragraph paragraphs sentence
        sentences monologue name names metaphor metaphors""",
    "measure": "many much far long old fast tall",
    "amount": """
        value sum product probability area volume number total remainder average length ratio
        perimeter cost greatest least smallest largest""",
    "read": """
        text passage paragraph article document review reviews dialog dialogue conversation context
        excerpt report summary data statement sentence sentences reference email transcript""",
    "pointing": "the this these following above below given",
    "sorting": "classify categorize categorise label extract paraphrase",
    "language": "c r go rust ruby swift scala perl matlab haskell excel",
    "tool": "vba leetcode git awk pytest npm",
    "shell": "bash shell batch python",
    "scripted": "script scripts",
    "part": "voice style",
    "whether": "which the if whether",
    "weaken": "weaken weakens strengthen strengthens",
    "prove": "prove show verify",
    "infer": "inferred concluded",
    "statement": "statement statements",
    "stars": "scale rating star stars score",
    "judged": "review product text",
    "point": "idea ideas point points",
    "figure": """
        two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
        thousand dozen half twice""",
    "codeline": "def import const var public private package include class return",
    "latex": "frac sqrt sum int cdot left begin pi times angle",
    "unknown": "x y z n k m b",
    "choice": "a b c d e f",
    "include": "include define pragma",
    "is": "is are",
    "what": "what what's",
    "roleplay": "roleplay",
    "rate": "positive negative",
    "somebody": "you that a",
    **{
        word: word
        for word in """
        how the me give come up with find all a solve percent which one of following if above must
        also be true can most seriously effectively step by that or false identify tell these are
        in nutshell sum main key do mean same tl dr net snippet unit test tests structure time
        complexity for loop liner select act as pretend to role play you going now imagine simulate
        conversation based let regular expression text code data from this import b
        while print console function
        """.split()
    },
}

SYMBOLS: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~•×÷"  # noqa: RUF001
_LETTERS: Final = (
    "".join(map(chr, range(ord("A"), ord("Z") + 1)))
    + "".join(c for c in map(chr, range(ord("a"), ord("z") + 1)) if c != "w")
    + "".join(c for c in map(chr, range(0xC0, 0x180)) if c.isalpha())
)

_of_word: dict[str, set[str]] = defaultdict(set)
for _name, _words in _CLASSES.items():
    for _word in _words.split():
        _of_word[_word].add(_name)
_kinds = sorted({tuple(sorted(names)) for names in _of_word.values()})
_letter_of = dict(zip(_kinds, _LETTERS, strict=False))

OTHER: Final = "w"
"""Stands for a word of no class."""

LETTERS: Final = {word: _letter_of[tuple(sorted(names))] for word, names in _of_word.items()} | {
    "\n": "\n",
    "0": "0",
    **{symbol: symbol for symbol in SYMBOLS},
    "？": "?",  # noqa: RUF001
    "؟": "?",
}
"""The letter of each token that has one."""

_OF_CLASS: Final = {
    name: "[" + "".join(letter for kinds, letter in _letter_of.items() if name in kinds) + "]"
    for name in _CLASSES
}


def rule(pattern: str) -> re.Pattern[str]:
    """An expression over a prompt's letters, in which `<name>` stands for a word of that class."""
    return re.compile(re.sub(r"<(\w+)>", lambda named: _OF_CLASS[named[1]], pattern), re.DOTALL)
