"""Which model each job of a batch gets, so that a budget buys the most good answers in all. Pure.

One price does it: what a further dollar must bring, in expected good answers. At that price each
job takes the option whose chance of success, less its cost at the price, is best: the Lagrange
multiplier of the budget. The higher the price, the cheaper each choice, so the lowest price whose
choices the money carries is the best one, and more money never lowers the expected quality.

The price is found on a sample of the batch (`Curve`) and found again as real costs arrive. The
curve is kept in parts of the batch, in input order, so that a file that begins with its easy lines
leaves the money for the hard ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final, Self

from shared.deciding.constraints import Candidate, rank
from shared.deciding.success import SEEN_WEAK, success
from shared.domain.decisions import Classification
from shared.domain.money import NUSD_PER_USD

PARTS: Final = 8
"""Parts of a batch, in input order, that a curve tells apart."""
PRICES: Final = (0.0, *(10.0 ** (place / 6.0) for place in range(-12, 43)))
"""Good answers per USD: from money that is no object to 10,000,000 a dollar."""
_KEPT_BACK: Final = 0.03  # of what is left, for what no estimate knows
_DEVIATIONS: Final = 1.0  # of the remaining cost, kept back besides
_TRUSTED_AFTER: Final = 20.0  # jobs, from which on real costs count more than estimates


@dataclass(frozen=True, slots=True)
class Option:
    """A model asked first, alone or with a climb where its answer is seen to be weak."""

    model: str
    cost_nusd: float
    success: float
    climbs: bool = False


def options_of(candidates: Sequence[Candidate], classification: Classification) -> list[Option]:
    """What can be done with a job, by what it is expected to cost and to bring."""
    chances = [success(candidate, classification) for candidate in candidates]
    options = []
    for candidate, chance in zip(candidates, chances, strict=True):
        cost = float(candidate.expected_nusd)
        options.append(Option(candidate.model.name, cost, chance))
        above = [
            (other.expected_nusd, brought)
            for other, brought in zip(candidates, chances, strict=True)
            if rank(other.model.tier) > rank(candidate.model.tier)
        ]
        if above:
            dearer, brought = min(above)
            # Whatever a weaker model answers well a stronger one does, too: only the rest is won.
            won = SEEN_WEAK * max(0.0, brought - chance)
            seen = SEEN_WEAK * (1.0 - chance)
            climbed = Option(candidate.model.name, cost + seen * dearer, chance + won, climbs=True)
            options.append(climbed)
    return options


def choose(options: Sequence[Option], gain_per_usd: float) -> Option:
    """The best option at a price; of equals the cheaper. Raises ValueError where there is none."""
    price = gain_per_usd / NUSD_PER_USD
    return min(
        options,
        key=lambda option: (
            price * option.cost_nusd - option.success,
            option.cost_nusd,
            option.model,
            option.climbs,
        ),
    )


@dataclass(frozen=True, slots=True)
class Curve:
    """What a batch would cost and bring at each of `PRICES`, by part: per job, from a sample.

    costs, successes: for each part, one figure for each price; nano-dollars and chances. shares:
    the share of the batch's jobs in each part.
    """

    costs: tuple[tuple[float, ...], ...]
    successes: tuple[tuple[float, ...], ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, sampled: Sequence[Sequence[Option]]) -> Self:
        """The curve of jobs in input order, each with its options."""
        size = -(-len(sampled) // PARTS) or 1
        parts = [sampled[start : start + size] for start in range(0, len(sampled), size)]
        chosen = [[[choose(job, price) for job in part] for price in PRICES] for part in parts]
        return cls(
            tuple(tuple(_mean([o.cost_nusd for o in at]) for at in part) for part in chosen),
            tuple(tuple(_mean([o.success for o in at]) for at in part) for part in chosen),
            tuple(len(part) / len(sampled) for part in parts),
        )

    def rest(self, done: float) -> tuple[float, ...]:
        """The share of the batch's jobs that is left of each part, where `done` of all are done."""
        left = []
        for share in self.shares:
            taken = min(share, max(0.0, done))
            left.append(share - taken)
            done -= taken
        return tuple(left)

    def cost(self, place: int, parts: Sequence[float]) -> float:
        """Cost of these shares of a batch at a price, per job of the batch, in nano-dollars."""
        return sum(share * costs[place] for share, costs in zip(parts, self.costs, strict=True))

    def brought(self, place: int, parts: Sequence[float]) -> float:
        """Expected good answers of these shares of a batch at a price, per job of the batch."""
        return sum(
            share * chances[place] for share, chances in zip(parts, self.successes, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """The form that is stored."""
        return {
            "costs": [[round(cost) for cost in part] for part in self.costs],
            "successes": [[round(chance, 4) for chance in part] for part in self.successes],
            "shares": list(self.shares),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The curve that `to_dict` stored."""
        return cls(
            tuple(map(tuple, stored["costs"])),
            tuple(map(tuple, stored["successes"])),
            tuple(stored["shares"]),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is. jobs: that are asked, in all. ended: of them. cap_nusd, spent_nusd: its
    money. last_nusd: what a single call may have to reserve, kept free to the last job.
    """

    jobs: int
    ended: int
    cap_nusd: int
    spent_nusd: int
    last_nusd: int = 0


@dataclass(frozen=True, slots=True)
class Allotment:
    """A price, and what estimates said of the jobs that have ended under it and those before it."""

    gain_per_usd: float
    ended: int = 0
    estimated_nusd: float = 0.0
    carries_all: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The form that is stored."""
        return {
            "gain_per_usd": self.gain_per_usd,
            "ended": self.ended,
            "estimated_nusd": self.estimated_nusd,
            "carries_all": self.carries_all,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The allotment that `to_dict` stored."""
        return cls(**stored)


def allot(
    curve: Curve, progress: Progress, before: Allotment | None = None, believed: float = 1.0
) -> Allotment:
    """The lowest price that the money left carries for all jobs that are left.

    believed: the ratio of real cost to the curve's before anything ended. Where not even the
    highest price is carried, that one: everybody gets the cheapest, as far as the money goes.
    """
    estimated, ended = 0.0, progress.ended
    if before is not None:
        place = _place(before.gain_per_usd)
        then = curve.rest(before.ended / progress.jobs)
        now = curve.rest(ended / progress.jobs)
        passed = [max(0.0, a - b) for a, b in zip(then, now, strict=True)]
        estimated = before.estimated_nusd + progress.jobs * curve.cost(place, passed)
    ratio = _ratio(curve, progress, estimated, believed)
    left = curve.rest(ended / progress.jobs)
    money = progress.cap_nusd - progress.spent_nusd - progress.last_nusd
    for place, price in enumerate(PRICES):
        if _needed(curve.cost(place, left) * ratio * progress.jobs, sum(left), progress) <= money:
            return Allotment(price, ended, estimated)
    return Allotment(PRICES[-1], ended, estimated, carries_all=False)


def _needed(cost: float, left: float, progress: Progress) -> float:
    """What the jobs left need, with what is kept back for their being dearer than expected."""
    jobs = max(1.0, left * progress.jobs)
    return cost * (1.0 + _KEPT_BACK + _DEVIATIONS / sqrt(jobs)) if left > 0.0 else 0.0


def _ratio(curve: Curve, progress: Progress, estimated: float, believed: float) -> float:
    """Real cost over the curve's: what was believed, corrected by what came."""
    whole = curve.cost(0, curve.shares)
    trust = _TRUSTED_AFTER * min(whole, estimated / progress.ended if progress.ended else whole)
    if estimated + trust <= 0.0:
        return believed
    return (progress.spent_nusd + trust * believed) / (estimated + trust)


def _place(price: float) -> int:
    return min(range(len(PRICES)), key=lambda place: abs(PRICES[place] - price))


def _mean(figures: Sequence[float]) -> float:
    return sum(figures) / len(figures)
