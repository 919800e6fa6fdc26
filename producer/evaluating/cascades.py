"""The cheapest way to a share of the strong model's quality, chosen and tested on other prompts.

Any model may be asked first; and after each answer another, or one of the answers is taken. What is
done in each state (who was asked, whose answers say the same) and for each kind of prompt (thirds
of length, thirds of need) is what brings most at one price of a good answer, the Lagrange
multiplier of the target, found backwards from the states in which all were asked. Between the two
prices around the target part of the prompts goes by each. Every call counts. One model for
everything, routing by prompt, two that must agree, votes: all are among what is tried.

Of so many plans the cheapest that reaches the target would look better than it is on the prompts
it was chosen by. So the prompts are dealt into five parts; for each part the plan is chosen by the
other four, with some of the standard error to spare, and only what it does on its own part is told.
A kind's own prompts count fully, those of kinds like it less; what is seen too seldom goes by a
rule: two that agree, else the strong model.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, sqrt
from typing import Any, Final
from zlib import crc32

from producer.evaluating.outcomes import Outcome
from producer.evaluating.states import (
    UNASKED,
    Book,
    Graph,
    State,
    Sums,
    largest_group,
    voices,
)
from shared.domain.money import usd_from_nusd

PARTS: Final = 5
_THIRDS: Final = 3
_KINDS: Final = _THIRDS * _THIRDS
_LEAST: Final = 50
"""Prompts below which nothing is chosen."""
_MODELS: Final = 6
"""So many models at most are in play, and asked for a prompt."""
_SELDOM: Final = 10.0
"""Prompts in a state below which a rule is safer than their sums."""
_LIKE: Final = (0.15, 0.3, 1.0)
"""What a prompt of another kind counts, by how many of length and need are the same."""
_SPARE: Final = 0.6
"""Standard errors above the target that are wanted of the prompts that are chosen by."""
_PRICES: Final = tuple(10.0 ** (place / 8.0) for place in range(32, 89))
"""Nano-dollars for a good answer: 0.00001 to 100 USD."""
_STEPS: Final = 100
_SURE: Final = 1.96
_SHOWN: Final = 8

Doing = tuple[bool, int]
"""Whether another model is asked, else an answer taken; and whose, by place."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a plan does with some prompts, in sums. above: the score above what is wanted; squares:
    of that.
    """

    rows: float = 0.0
    score: float = 0.0
    cost_nusd: float = 0.0
    above: float = 0.0
    squares: float = 0.0

    def plus(self, other: "Deed", share: float = 1.0) -> "Deed":
        """Both together, the other for this share of its prompts."""
        return Deed(
            self.rows + share * other.rows,
            self.score + share * other.score,
            self.cost_nusd + share * other.cost_nusd,
            self.above + share * other.above,
            self.squares + share * other.squares,
        )

    @property
    def mean_above(self) -> float:
        """How far the quality lies above what is wanted."""
        return self.above / self.rows

    @property
    def error(self) -> float:
        """Standard error of `mean_above`."""
        variance = max(0.0, self.squares / self.rows - self.mean_above**2)
        return sqrt(variance / self.rows)

    @property
    def reaches(self) -> bool:
        """Whether the target is reached with something to spare."""
        return self.mean_above >= _SPARE * self.error


class Chooser:
    """Plans from some parts of the prompts, and what they do on others."""

    def __init__(self, book: Book, strong: str, target: float, most: int) -> None:
        self._book = book
        self._graph = Graph(book.patterns, len(book.names), most)
        self._strong = book.names.index(strong)
        self._target = target
        self._sums = cache(self._sums_of)
        self.plan = cache(self._plan)
        self._done = cache(self._does)

    def _sums_of(self, parts: tuple[int, ...]) -> list[dict[State, Sums]]:
        return [self._book.by_state(self._graph, parts, _weights(kind)) for kind in range(_KINDS)]

    def _plan(self, parts: tuple[int, ...], price: float) -> list[dict[State, Doing]]:
        """For each kind what to do in each state: best for a price, as far as these parts tell."""
        return [self._best(sums, price) for sums in self._sums(parts)]

    def _best(self, sums: Mapping[State, Sums], price: float) -> dict[State, Doing]:
        worth: dict[State, float] = {}
        doing: dict[State, Doing] = {}
        first_score = 1 + len(self._book.names)
        for state in self._graph.last_first:
            seen = sums.get(state)
            if seen is None:
                continue
            if seen[0] < _SELDOM and state != self._graph.root:
                asks, place = doing[state] = self._ruled(state)
                worth[state] = price * seen[first_score + place] - asks * seen[1 + place]
                continue
            tried = [(price * seen[first_score + at], False, at) for at in voices(state)]
            for at, after in self._graph.next(state):
                more = sum(worth.get(later, 0.0) for later in after)
                tried.append((more - seen[1 + at], True, at))
            worth[state], asks, place = max(tried, key=lambda one: (one[0], not one[1], -one[2]))
            doing[state] = asks, place
        return doing

    def _ruled(self, state: State) -> Doing:
        """What is safe where little is known."""
        if state[self._strong] != UNASKED:
            return False, self._strong
        count, place = largest_group(state)
        return (False, place) if count > 1 else (True, self._strong)

    def walk(self, doing: Mapping[State, Doing], pattern: State) -> tuple[list[int], int]:
        """Who is asked, in order, for a prompt of this pattern, and whose answer is taken."""
        state, asked = self._graph.root, list[int]()
        while True:
            asks, place = doing.get(state) or self._ruled(state)
            if not asks:
                return asked, place
            asked.append(place)
            if place == self._strong and state not in doing:
                return asked, place
            state = self._graph.after(pattern, state, place)

    def _does(self, parts: tuple[int, ...], price: float, part: int) -> Deed:
        """What the plan of some parts does on another."""
        plan, deed = self.plan(parts, price), Deed()
        for (own, kind, pattern), sums in self._book.sums.items():
            if own == part:
                deed = deed.plus(self._deed(plan[kind], pattern, sums))
        return deed

    def _deed(self, doing: Mapping[State, Doing], pattern: State, sums: Sums) -> Deed:
        asked, taken = self.walk(doing, pattern)
        first_score = 1 + len(self._book.names)
        score, wanted = sums[first_score + taken], self._target * sums[first_score + self._strong]
        squared = first_score + len(self._book.names)
        both = squared + len(self._book.names)
        squares = sums[squared + taken] - 2.0 * self._target * sums[both + taken]
        squares += self._target**2 * sums[squared + self._strong]
        cost = sum(sums[1 + place] for place in asked)
        return Deed(sums[0], score, cost, score - wanted, squares)

    def foreseen(self, parts: Sequence[int], price: float) -> Deed:
        """What a price brings on each of these parts by the plan of the others."""
        told = Deed()
        for part in parts:
            others = tuple(other for other in parts if other != part)
            told = told.plus(self._done(others, price, part))
        return told

    def prices(self, parts: Sequence[int]) -> tuple[float, float, float] | None:
        """The price below the target, the one that reaches it, and the share of prompts by the
        second; None where none reaches it. Told by parts that the plans were not chosen by.
        """
        low, high = 0, len(_PRICES)
        while low < high:
            middle = (low + high) // 2
            if self.foreseen(parts, _PRICES[middle]).reaches:
                high = middle
            else:
                low = middle + 1
        if low == len(_PRICES):
            return None
        if low == 0:
            return _PRICES[0], _PRICES[0], 1.0
        below, above = (self.foreseen(parts, _PRICES[place]) for place in (low - 1, low))
        mixed = (step / _STEPS for step in range(_STEPS))
        share = next((s for s in mixed if _between(below, above, s).reaches), 1.0)
        return _PRICES[low - 1], _PRICES[low], share

    def planned(self, parts: tuple[int, ...]) -> "Planned":
        """The plans that parts choose, and what they are expected to do."""
        found = self.prices(parts)
        if found is None:
            alone = {self._graph.root: (True, self._strong)}
            return Planned(self, ((1.0, [alone] * _KINDS),), inf)
        less, more, share = found
        plans = [(1.0 - share, self.plan(parts, less)), (share, self.plan(parts, more))]
        deed = _between(self.foreseen(parts, less), self.foreseen(parts, more), share)
        return Planned(self, tuple(one for one in plans if one[0]), deed.cost_nusd / deed.rows)

    def tried_on(
        self, plan: Sequence[Mapping[State, Doing]], parts: Collection[int]
    ) -> Iterator[tuple[tuple[int, ...], int, Deed]]:
        """What a plan does on some parts: each order of calls, and whose answer is taken."""
        for (part, kind, pattern), sums in self._book.sums.items():
            if part in parts:
                asked, taken = self.walk(plan[kind], pattern)
                yield tuple(asked), taken, self._deed(plan[kind], pattern, sums)


@dataclass(frozen=True, slots=True)
class Planned:
    """Plans with the share of prompts that goes by each, and the expected cost of a prompt."""

    by: Chooser
    plans: tuple[tuple[float, Sequence[Mapping[State, Doing]]], ...]
    cost_nusd: float


def _between(below: Deed, above: Deed, share: float) -> Deed:
    return Deed().plus(below, 1.0 - share).plus(above, share)


def cheapest_ways(
    outcomes: Sequence[Outcome], needs: Sequence[float], strong: str, target: float
) -> list[dict[str, Any]]:
    """What chosen plans cost and how good they were where they had not been chosen: of all plans,
    of single models by prompt, and of single models at random. Empty where costs are missing or
    the prompts are too few.

    needs: how much each prompt needs, as routing sees it. target: the share of `strong`'s quality.
    """
    names = in_play(outcomes, strong)
    if len(outcomes) < _LEAST or strong not in names:
        return []
    parts = [crc32(outcome.id.encode()) % PARTS for outcome in outcomes]
    alike = [0] * len(outcomes)
    apart = Book(outcomes, names, strong, parts, _kinds(outcomes, needs))
    together = Book(outcomes, names, strong, parts, alike)
    by_prompt = Chooser(apart, strong, target, 1)
    at_random = Chooser(together, strong, target, 1)
    cascades = [Chooser(book, strong, target, _MODELS) for book in (apart, together)]
    told = (
        ("cascade", (*cascades, by_prompt, at_random)),
        ("one model by prompt", (by_prompt,)),
        ("one model at random", (at_random,)),
    )
    return [{"chosen_of": name} | _tested(choosers, apart, strong) for name, choosers in told]


def _tested(choosers: Sequence[Chooser], book: Book, strong: str) -> dict[str, Any]:
    """What the plan that promises to be the cheapest does on parts it was not chosen by."""
    told, ways, calls = Deed(), dict[tuple[str, ...], float](), dict[str, float]()
    for part in range(PARTS):
        others = tuple(other for other in range(PARTS) if other != part)
        planned = min((one.planned(others) for one in choosers), key=lambda one: one.cost_nusd)
        for share, plan in planned.plans:
            for asked, taken, deed in planned.by.tried_on(plan, {part}):
                told = told.plus(deed, share)
                way = (*(book.names[place] for place in asked), book.names[taken])
                ways[way] = ways.get(way, 0.0) + share * deed.rows
                for place in asked:
                    name = book.names[place]
                    calls[name] = calls.get(name, 0.0) + share * deed.rows
    everything = sum(sums[1 + book.names.index(strong)] for sums in book.sums.values())
    return {
        "quality": round(told.score / told.rows, 6),
        "above_target": round(told.mean_above, 4),
        "error_95": round(_SURE * told.error, 4),
        "cost_nusd": round(told.cost_nusd),
        "cost_usd": usd_from_nusd(round(told.cost_nusd)),
        "of_strong_cost": round(told.cost_nusd / everything, 4) if everything else None,
        "calls": {name: round(calls[name] / told.rows, 4) for name in book.names if name in calls},
        "ways": list(_in_words(ways, told.rows)),
        "models": list(book.names),
    }


def _in_words(ways: Mapping[tuple[str, ...], float], rows: float) -> Iterator[dict[str, Any]]:
    """The commonest orders of calls, and whose answers were taken."""
    for (*asked, taken), count in sorted(ways.items(), key=lambda one: (-one[1], one[0]))[:_SHOWN]:
        if count:
            way = " -> ".join(asked) + (f", answer of {taken}" if len(asked) > 1 else "")
            yield {"way": way, "asked": asked, "answer": taken, "share": round(count / rows, 4)}


def in_play(outcomes: Sequence[Outcome], strong: str) -> list[str]:
    """The models with a cost for every prompt, the cheapest first; of many, the strong one and
    those that the fewest others are both cheaper and better than.
    """
    everywhere = set.intersection(*(set(outcome.models) for outcome in outcomes))
    costs: dict[str, int] = {}
    quality: dict[str, float] = {}
    for name in everywhere:
        rows = [outcome.models[name] for outcome in outcomes]
        priced = [row.cost_nusd for row in rows if row.cost_nusd is not None]
        if len(priced) == len(rows):
            costs[name] = sum(priced)
            quality[name] = sum(row.score for row in rows) / len(rows)

    def beaten_by(name: str) -> int:
        return sum(costs[o] <= costs[name] and quality[o] > quality[name] for o in costs)

    others = sorted(costs.keys() - {strong}, key=lambda n: (beaten_by(n), costs[n], n))
    kept = [*others[: _MODELS - 1], *([strong] if strong in costs else [])]
    return sorted(kept, key=lambda name: (costs[name], name))


def _kinds(outcomes: Sequence[Outcome], needs: Iterable[float]) -> list[int]:
    """The kind of each prompt: a third by length, a third by need."""
    lengths = _thirds([float(len(outcome.prompt)) for outcome in outcomes])
    return [_THIRDS * a + b for a, b in zip(lengths, _thirds(list(needs)), strict=True)]


def _thirds(figures: Sequence[float]) -> list[int]:
    order = sorted(figures)
    edges = [order[len(order) * place // _THIRDS] for place in range(1, _THIRDS)]
    return [sum(figure >= edge for edge in edges) for figure in figures]


def _weights(kind: int) -> tuple[float, ...]:
    """What a prompt of each kind counts when one is decided on."""
    length, need = divmod(kind, _THIRDS)
    return tuple(
        _LIKE[(other // _THIRDS == length) + (other % _THIRDS == need)] for other in range(_KINDS)
    )
