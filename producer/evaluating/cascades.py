"""The cheapest ways to a share of the strong model's quality, chosen and tested on different
prompts.

What can be bought for a prompt: one model's answer; or two cheap answers, and where they agree
that is all; where they differ a third, whose side wins; and where no two agree the end model's.
Every call counts. Prompts are told apart by length and by need, and each kind gets the way that
brings most at one price of quality, the Lagrange multiplier of the target; between the two prices
around the target part of the prompts goes each way. Routing by prompt alone, any mixture of models,
and any cascade are special cases.

Of so many ways the cheapest that reaches the target would look better than it is on the prompts it
was chosen by. So the prompts are dealt into five parts; for each part the ways are chosen by the
other four, with half a standard error to spare, and only what they do on their own part is told.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Any, Final
from zlib import crc32

from producer.evaluating.outcomes import Outcome, Recorded
from shared.domain.money import usd_from_nusd

PARTS: Final = 5
_THIRDS: Final = 3
_KINDS: Final = _THIRDS * _THIRDS
_LEAST: Final = 50
"""Prompts below which nothing is chosen."""
_ASKED: Final = 6
"""The cheapest models that are tried as the first two and the third."""
_ENDS: Final = 4
"""The best models that are tried as the end, the strong one besides."""
_SPARE: Final = 0.5
"""Standard errors above the target that are wanted of the prompts that are chosen by."""
_PRICES: Final = tuple(10.0 ** (place / 16.0) for place in range(64, 177))
"""Nano-dollars for a good answer: 0.00001 to 100 USD."""
_STEPS: Final = 100
_SURE: Final = 1.96


@dataclass(frozen=True, slots=True)
class Way:
    """How a prompt is answered. asked: none, two or three models before the end model."""

    asked: tuple[str, ...]
    end: str

    @property
    def text(self) -> str:
        """In words."""
        first = (" + ".join(self.asked[:2]),) if self.asked else ()
        return ", then ".join((*first, *self.asked[2:], self.end))


@dataclass(slots=True)
class _Sums:
    """Of one way with some of the prompts: how many, scores, cost; and the score above the target,
    with its squares.
    """

    rows: float = 0.0
    score: float = 0.0
    cost_nusd: float = 0.0
    above: float = 0.0
    squares: float = 0.0

    def plus(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.rows + other.rows,
            self.score + other.score,
            self.cost_nusd + other.cost_nusd,
            self.above + other.above,
            self.squares + other.squares,
        )

    def times(self, share: float) -> "_Sums":
        return _Sums(
            self.rows * share,
            self.score * share,
            self.cost_nusd * share,
            self.above * share,
            self.squares * share,
        )

    @property
    def mean_above(self) -> float:
        return self.above / self.rows

    @property
    def error(self) -> float:
        """Standard error of `mean_above`."""
        variance = max(0.0, self.squares / self.rows - self.mean_above**2)
        return sqrt(variance / self.rows)


Tried = Mapping[Way, Mapping[tuple[int, int], _Sums]]
"""What each way did with each part and kind of prompts."""
Plan = tuple[tuple[Way, ...], tuple[Way, ...], float]
"""The ways of each kind of prompt at two prices, and the share of prompts that go by the second."""


def cheapest_ways(
    outcomes: Sequence[Outcome], needs: Sequence[float], strong: str, target: float
) -> list[dict[str, Any]]:
    """What chosen ways cost and how good they were where they had not been chosen: of all ways, of
    single models by prompt, and of single models at random. Empty where costs are missing or the
    prompts are too few.

    needs: how much each prompt needs, as routing sees it. target: the share of `strong`'s quality.
    """
    parts = [crc32(outcome.id.encode()) % PARTS for outcome in outcomes]
    wanted = [target * outcome.models[strong].score for outcome in outcomes]
    ways = list(_ways(outcomes, strong))
    if len(outcomes) < _LEAST or not ways:
        return []
    singles = [way for way in ways if not way.asked]
    kinds = _kinds(outcomes, needs)
    alike = [0] * len(outcomes)
    told = []
    for name, tries, told_apart in (
        ("cascade", ways, kinds),
        ("one model by prompt", singles, kinds),
        ("one model at random", singles, alike),
    ):
        places = list(zip(parts, told_apart, strict=True))
        tried = {way: _sums(_bought(way, outcomes), wanted, places) for way in tries}
        told.append({"chosen_of": name} | _tested(tried, strong))
    return told


def _tested(tried: Tried, strong: str) -> dict[str, Any]:
    told = _Sums()
    shares: dict[str, float] = {}
    for part in range(PARTS):
        plan = _planned(tried, part, strong)
        told = told.plus(_of_plan(tried, plan, [part]))
        for way, rows in _rows_by_way(tried, plan, part):
            shares[way.text] = shares.get(way.text, 0.0) + rows
    everything = sum(own.cost_nusd for own in tried[Way((), strong)].values())
    return {
        "quality": round(told.score / told.rows, 6),
        "above_target": round(told.mean_above, 4),
        "error_95": round(_SURE * told.error, 4),
        "cost_nusd": round(told.cost_nusd),
        "cost_usd": usd_from_nusd(round(told.cost_nusd)),
        "of_strong_cost": round(told.cost_nusd / everything, 4) if everything else None,
        "ways": [
            {"way": way, "share": round(rows / told.rows, 4)}
            for way, rows in sorted(shares.items(), key=lambda one: -one[1])
            if rows
        ],
        "tried": len(tried),
    }


def _kinds(outcomes: Sequence[Outcome], needs: Sequence[float]) -> list[int]:
    """The kind of each prompt: a third by length, a third by need."""
    lengths = [float(len(outcome.prompt)) for outcome in outcomes]
    return [
        _THIRDS * length + need
        for length, need in zip(_thirds(lengths), _thirds(needs), strict=True)
    ]


def _thirds(figures: Sequence[float]) -> list[int]:
    order = sorted(figures)
    edges = [order[len(order) * place // _THIRDS] for place in range(1, _THIRDS)]
    return [sum(figure >= edge for edge in edges) for figure in figures]


def _planned(tried: Tried, part: int, strong: str) -> Plan:
    """The cheapest ways that reach the target on the other parts; the strong model where none do.

    What a price brings is told by parts that its ways were not chosen by, here too.
    """
    others = [other for other in range(PARTS) if other != part]
    low, high = 0, len(_PRICES)
    while low < high:
        middle = (low + high) // 2
        if _reaches(_foreseen(tried, others, _PRICES[middle])):
            high = middle
        else:
            low = middle + 1
    if low == len(_PRICES):
        alone = (Way((), strong),) * _KINDS
        return alone, alone, 1.0
    more = _best_at(tried, others, _PRICES[low])
    if low == 0:
        return more, more, 1.0
    below, above = (_foreseen(tried, others, _PRICES[place]) for place in (low - 1, low))
    share = 1.0
    for step in range(_STEPS + 1):
        part_of = step / _STEPS
        if _reaches(below.times(1.0 - part_of).plus(above.times(part_of))):
            share = part_of
            break
    return _best_at(tried, others, _PRICES[low - 1]), more, share


def _reaches(seen: _Sums) -> bool:
    return seen.mean_above >= _SPARE * seen.error


def _foreseen(tried: Tried, parts: Sequence[int], price: float) -> _Sums:
    """What a price brings on each of these parts by the ways that the others choose."""
    told = _Sums()
    for part in parts:
        ways = _best_at(tried, [other for other in parts if other != part], price)
        told = told.plus(_of_plan(tried, (ways, ways, 1.0), [part]))
    return told


def _best_at(tried: Tried, parts: Sequence[int], price: float) -> tuple[Way, ...]:
    """For each kind of prompts the way that brings most on these parts at a price."""
    chosen = []
    for kind in range(_KINDS):
        worth = {
            way: sum(price * sums[part, kind].above - sums[part, kind].cost_nusd for part in parts)
            for way, sums in tried.items()
        }
        chosen.append(max(worth, key=lambda way: worth[way]))
    return tuple(chosen)


def _of_plan(tried: Tried, plan: Plan, parts: Sequence[int]) -> _Sums:
    """What a plan does on these parts, in expectation over who goes which way."""
    told = _Sums()
    for part in parts:
        for kind, (less, more) in enumerate(zip(plan[0], plan[1], strict=True)):
            told = told.plus(tried[less][part, kind].times(1.0 - plan[2]))
            told = told.plus(tried[more][part, kind].times(plan[2]))
    return told


def _rows_by_way(tried: Tried, plan: Plan, part: int) -> Iterator[tuple[Way, float]]:
    for kind, (less, more) in enumerate(zip(plan[0], plan[1], strict=True)):
        rows = tried[less][part, kind].rows
        yield less, rows * (1.0 - plan[2])
        yield more, rows * plan[2]


def _ways(outcomes: Sequence[Outcome], strong: str) -> Iterator[Way]:
    """Every way that is tried: of models that were recorded, with their costs, for each prompt."""
    costs, quality, answered = _models(outcomes)
    if strong not in costs:
        return
    by_cost = sorted(costs, key=lambda name: (costs[name], name))
    best = sorted(costs, key=lambda name: (-quality[name], costs[name], name))
    ends = dict.fromkeys([strong, *best[:_ENDS]])
    for name in by_cost:
        yield Way((), name)
    cheap = [name for name in by_cost if name in answered and name != strong][:_ASKED]
    for end in ends:
        below = [name for name in cheap if name != end and costs[name] < costs[end]]
        for pair in combinations(below, 2):
            for third in (None, *(name for name in below if name not in pair)):
                asked = pair if third is None else (*pair, third)
                yield Way(asked, end)


def _models(
    outcomes: Sequence[Outcome],
) -> tuple[dict[str, int], dict[str, float], frozenset[str]]:
    """Of the models recorded for every prompt: total cost, quality, and which have answers."""
    everywhere = set.intersection(*(set(outcome.models) for outcome in outcomes))
    costs: dict[str, int] = {}
    quality: dict[str, float] = {}
    answered = set()
    for name in everywhere:
        rows = [outcome.models[name] for outcome in outcomes]
        priced = [row.cost_nusd for row in rows if row.cost_nusd is not None]
        if len(priced) < len(rows):
            continue
        costs[name] = sum(priced)
        quality[name] = sum(row.score for row in rows) / len(rows)
        if all(row.is_answered for row in rows):
            answered.add(name)
    return costs, quality, frozenset(answered)


def _bought(way: Way, outcomes: Sequence[Outcome]) -> Iterator[tuple[float, int]]:
    """Score and cost of each prompt."""
    for outcome in outcomes:
        end = outcome.models[way.end]
        kept, cost = _agreed(way, outcome)
        if kept is None:
            yield end.score, cost + (end.cost_nusd or 0)
        else:
            yield kept.score, cost


def _agreed(way: Way, outcome: Outcome) -> tuple[Recorded | None, int]:
    """The answer that two of those asked agree on, if there is one, and what they all cost."""
    seen: dict[str, Recorded] = {}
    cost = 0
    for place, name in enumerate(way.asked):
        answer = outcome.models[name]
        if place == 2 and not seen:  # noqa: PLR2004  nothing to compare: a third settles nothing
            break
        cost += answer.cost_nusd or 0
        if answer.answer_key is not None:
            if answer.answer_key in seen:
                return seen[answer.answer_key], cost
            seen[answer.answer_key] = answer
    return None, cost


def _sums(
    bought: Iterator[tuple[float, int]],
    wanted: Sequence[float],
    places: Iterable[tuple[int, int]],
) -> dict[tuple[int, int], _Sums]:
    sums = {(part, kind): _Sums() for part in range(PARTS) for kind in range(_KINDS)}
    for (score, cost), least, place in zip(bought, wanted, places, strict=True):
        own, above = sums[place], score - least
        own.rows += 1
        own.score += score
        own.cost_nusd += cost
        own.above += above
        own.squares += above * above
    return sums
