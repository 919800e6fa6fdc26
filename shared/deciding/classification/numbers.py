"""A prompt in figures, for the difficulty models: length, words, formulas, choices, conditions."""

from math import log1p
from typing import Final

from shared.deciding.classification.features import Features

NAMES: Final = (
    "heuristic",
    "log_words",
    "letters_a_word",
    "long_words",
    "numbers",
    "formulas",
    "choices",
    "items",
    "distinct_words",
    "digits",
    "negation",
    "blank_to_fill",
    "latex",
    "lines",
    "conditions",
)

OPEN_NAMES: Final = (
    "heuristic",
    "log_words",
    "letters_a_token",
    "numbers",
    "formulas",
    "items",
    "distinct_tokens",
    "lines",
)
_SAMPLE: Final = 60  # tokens of which the length is looked at

_LONG_WORD: Final = 9
_CONDITIONS: Final = frozenset({"if", "then", "suppose", "given", "let"})


def numbers_of(features: Features, heuristic: float) -> tuple[float, ...]:
    """One figure for each of `NAMES`; `heuristic` is the difficulty by rules, 0..1."""
    text, words = features.text, features.words
    count = max(1, len(words))
    return (
        heuristic,
        log1p(len(words)),
        sum(map(len, words)) / count,
        sum(len(word) > _LONG_WORD for word in words) / count,
        min(3.0, features.numbers / 5),
        min(3.0, log1p(features.formulas)),
        float(features.has_choices),
        min(features.items, 12) / 6,
        len(features.distinct) / count,
        log1p(sum(map(text.count, "0123456789"))),
        float("not" in features.distinct or "except" in features.distinct),
        float("_" in text),
        log1p(text.count("\\")),
        log1p(text.count("\n")),
        20 * sum(word in _CONDITIONS for word in words) / count,
    )


def open_numbers_of(features: Features, heuristic: float) -> tuple[float, ...]:
    """One figure for each of `OPEN_NAMES`, all of them cheap: open prompts are the most."""
    tokens = features.tokens
    sample = tokens[:_SAMPLE]
    return (
        heuristic,
        log1p(features.word_count),
        sum(map(len, sample)) / (len(sample) + 1),
        min(3.0, features.numbers / 5),
        min(3.0, log1p(features.formulas)),
        min(features.items, 12) / 6,
        len(features.distinct) / (len(tokens) + 1),
        log1p(features.shape.count("\n")),
    )
