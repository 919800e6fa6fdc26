"""What an order of escalation is worth: the curve from all weak to all strong, APGR and CPT.

Prompts go to the strong model one after another, those with the highest suspicion first. Prompts
of equal suspicion go in any order, so the curve is straight between them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt: the scores and costs of staying and of climbing. Costs in nano-dollars; climbing
    costs what was already paid as well.
    """

    weak: float
    strong: float
    stay_nusd: int
    climb_nusd: int


@dataclass(frozen=True, slots=True)
class Point:
    """A share of prompts climbed; mean score; total cost in nano-dollars."""

    share: float
    quality: float
    cost_nusd: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Points by rising share, from none climbed to all."""

    points: tuple[Point, ...]

    @property
    def apgr(self) -> float | None:
        """Average performance gap recovered: the mean over the share of the part of the gap
        between weak and strong that is recovered; 0.5 for random. None where there is no gap.
        """
        low, high = self.points[0].quality, self.points[-1].quality
        if high <= low:
            return None
        area = sum(
            (right.share - left.share) * ((left.quality + right.quality) / 2 - low)
            for left, right in pairwise(self.points)
        )
        return area / (high - low)

    def call_share(self, gap: float) -> float | None:
        """CPT: the least share of strong calls that recovers this part of the gap."""
        low, high = self.points[0].quality, self.points[-1].quality
        if high <= low:
            return None
        found = self.reaching(low + gap * (high - low))
        return None if found is None else found.share

    def reaching(self, quality: float) -> Point | None:
        """The first point with at least this quality."""
        if self.points[0].quality >= quality:
            return self.points[0]
        for left, right in pairwise(self.points):
            if right.quality >= quality > left.quality:
                part = (quality - left.quality) / (right.quality - left.quality)
                return _between(left, right, part)
        return None

    def thinned(self, steps: int = 50) -> list[Point]:
        """About so many points, for a plot; the ends stay."""
        shares = [point.share for point in self.points]
        picked = sorted({bisect_left(shares, step / steps) for step in range(steps + 1)})
        return [self.points[min(index, len(shares) - 1)] for index in picked]


def curve(cases: Sequence[Case], suspicion: Sequence[float]) -> Curve:
    """The curve of escalating by falling suspicion."""
    count = len(cases)
    quality, cost = sum(case.weak for case in cases), sum(case.stay_nusd for case in cases)
    points, climbed = [Point(0.0, quality / count, cost)], 0
    order = sorted(range(count), key=lambda index: -suspicion[index])
    for _, group in groupby(order, key=lambda index: suspicion[index]):
        for index in group:
            case = cases[index]
            quality += case.strong - case.weak
            cost += case.climb_nusd - case.stay_nusd
            climbed += 1
        points.append(Point(climbed / count, quality / count, cost))
    return Curve(tuple(points))


def _between(left: Point, right: Point, part: float) -> Point:
    return Point(
        left.share + part * (right.share - left.share),
        left.quality + part * (right.quality - left.quality),
        left.cost_nusd + round(part * (right.cost_nusd - left.cost_nusd)),
    )
