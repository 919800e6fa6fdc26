"""Recorded outcomes that are made up: sums, outputs of code, and choices, as models answer them.

Every model has a skill and a price; prompts have a difficulty that all models feel, so errors go
together. Wrong answers scatter, but some attract several models: few of the sums, most of the
choices. Answers come as whole texts in the spellings models use. Seeded: the same set each time.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any


@dataclass(frozen=True, slots=True)
class Player:
    """A model: its share of right answers, about, and USD per million tokens."""

    name: str
    skill: float
    input_usd: float
    output_usd: float


PLAYERS = (
    Player("small", 0.74, 0.10, 0.40),
    Player("other-small", 0.72, 0.12, 0.45),
    Player("third-small", 0.66, 0.08, 0.30),
    Player("middle", 0.86, 0.60, 2.40),
    Player("large", 0.95, 3.00, 15.00),
)
HARDER_PLAYERS = (
    Player("small", 0.45, 0.10, 0.40),
    Player("other-small", 0.43, 0.12, 0.45),
    Player("third-small", 0.38, 0.08, 0.30),
    Player("middle", 0.62, 0.60, 2.40),
    Player("large", 0.75, 3.00, 15.00),
)
_SPREAD = 1.6  # of difficulties, in logits
_LURED = {"sums": 0.15, "code": 0.3, "choices": 0.5}
"""Of wrong answers, how many are the prompt's own attractive one."""


def recorded(
    kind: str, rows: int, players: Sequence[Player] = PLAYERS, seed: int = 1, *, texts: bool = True
) -> list[dict[str, Any]]:
    """Lines for `evaluate`: kind is "sums", "code" or "choices". texts: whole answers, else bare
    values.
    """
    chance = random.Random(seed)
    return [_line(kind, number, chance, players, texts) for number in range(rows)]


def _line(
    kind: str, number: int, chance: random.Random, players: Sequence[Player], texts: bool
) -> dict[str, Any]:
    difficulty = chance.gauss(0.0, 1.0)
    length = round(max(30.0, 160.0 + 60.0 * difficulty + chance.gauss(0.0, 60.0)))
    right, lure = _values(kind, chance)
    models = {}
    for player in players:
        is_right = chance.random() < _right(player.skill, difficulty)
        said = right
        while not is_right and said == right:
            said = lure if chance.random() < _LURED[kind] else _values(kind, chance)[0]
        words = max(
            20.0, 90.0 + 40.0 * difficulty + chance.gauss(0.0, 30.0) + 15.0 * (not is_right)
        )
        cost = length / 4.0 * player.input_usd + words * player.output_usd
        models[player.name] = {
            "score": float(is_right),
            "answer": _spelled(kind, said, chance) if texts else said,
            "cost_nusd": round(cost * 1000),
        }
    return {"id": f"{kind}-{number}", "prompt": _prompt(kind, number, length), "models": models}


def _right(skill: float, difficulty: float) -> float:
    odds = skill / (1.0 - skill)
    return odds / (odds + exp(_SPREAD * difficulty - 0.35 * (skill > 0.5)))


def _prompt(kind: str, number: int, length: int) -> str:
    asks: dict[str, str] = {
        "sums": f"A baker sells {number} loaves and bakes more. How many are left?",
        "code": f"def f(a):\n    return a[::{number}]\nassert f([1, 2]) == ??",
        "choices": f"Which of these holds for case {number}?\n(A) one\n(B) two\n(C) three",
    }
    return (asks[kind] + " It is told at some length." * 40)[: max(length, len(asks[kind]))]


def _values(kind: str, chance: random.Random) -> tuple[str, str]:
    """A value, and another one that is easily taken for it."""
    if kind == "choices":
        one, other = chance.sample("ABCDEFGHIJ", 2)
        return one, other
    if kind == "sums":
        value = chance.randint(2, 900)
        return str(value), str(value + chance.choice((1, -1, 10)))
    letters = ["".join(chance.choice("abc") for _ in range(5)) for _ in range(2)]
    if chance.random() < 0.5:
        return repr(letters[0]), repr(letters[1])
    numbers = [[chance.randint(0, 9) for _ in range(3)] for _ in range(2)]
    return repr(numbers[0]), repr(numbers[1])


def _spelled(kind: str, value: str, chance: random.Random) -> str:
    steps = "First the one is taken, and then 2 of the other 3 are added. "
    spellings: dict[str, tuple[Callable[[str], str], ...]] = {
        "sums": (
            lambda said: f"{steps}\n#### {said}",
            lambda said: f"{steps}So it is $\\boxed{{{said}}}$.",
            lambda said: f"{steps}The answer is {said}.00.",
            lambda said: f'{{"reasoning": "{steps}", "answer": {said}}}',
            lambda said: f"{steps}**Final answer:** ${said} in all.",
        ),
        "code": (
            lambda said: f"[ANSWER]{said}[/ANSWER]",
            lambda said: f"{steps}The output is `{said.replace(', ', ',')}`.",
            lambda said: f"{steps}\n```python\nassert f([1, 2]) == {said}\n```",
            lambda said: said.replace("'", '"'),
        ),
        "choices": (
            lambda said: f"{steps}The answer is ({said}).",
            lambda said: f"{said}) as told",
            lambda said: f"{steps}\n\n**Answer: {said}**",
            lambda said: f"\\boxed{{\\text{{({said})}}}}",
        ),
    }
    return chance.choice(spellings[kind])(value)
