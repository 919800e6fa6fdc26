"""A plan: lines looked at one after the other, and told as one dictionary. Pure.

Of a long file lines are looked at evenly spread, at most `EXAMINED` and at least half as many; the
sums are scaled up. How many lines come need not be known: whenever too many are kept, every second
one is let go.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from producer.intake import FirstLines, Line, RejectedLine, ValidLine
from producer.intake.repeated import asked_once
from producer.planning.allotment import Allotted, allotted
from producer.planning.aside_costs import with_asides
from producer.planning.batch_cost import batch_cost
from producer.planning.duration import seconds_for
from producer.planning.line_costs import LineCost, line_cost
from producer.planning.pilots import Pilot
from producer.planning.terms import Terms
from shared.deciding.prepared_routes import PreparedRoutes
from shared.deciding.routing_policy import Piloting
from shared.domain.decisions import UNCLASSIFIED, Classification, NoRoute, Route
from shared.domain.inference import Request, Tier
from shared.domain.money import usd_from_nusd

EXAMINED: Final = 4_096
"""Lines of a file that a plan looks at, at most."""
_PILOT_AT_MOST: Final = 1.5
"""What a pilot's comparisons hardly cost more than they are expected to."""
SHOWN: Final = 100
"""Lines of a kind that are told one by one."""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A line that nothing can be said of: it is bad, or no model may answer it, and why."""

    line: int
    custom_id: str | None
    code: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """The form that is shown."""
        return {
            "line": self.line,
            "custom_id": self.custom_id,
            "code": self.code,
            "message": self.message,
        }


@dataclass(slots=True)
class Sample:
    """Lines that will be asked, evenly spread; `seen` is how many there were, `embeds` how many of
    them ask for embeddings.

    most_bytes: of the prompts that are kept, about. Long ones are kept in smaller number.
    """

    most: int
    most_bytes: int = 32 * 1024 * 1024
    seen: int = 0
    embeds: int = 0
    kept: list[ValidLine] = field(default_factory=list)
    _every: int = 1
    _bytes: int = 0

    def add(self, line: ValidLine) -> None:
        """Look at another line that will be asked."""
        if self.seen % self._every == 0:
            self.kept.append(line)
            self._bytes += _size(line)
            if len(self.kept) > self.most or self._bytes > self.most_bytes:
                self.kept = self.kept[::2]
                self._every *= 2
                self._bytes = sum(map(_size, self.kept))
        self.seen += 1
        if isinstance(line.asked, Request) and line.asked.embed is not None:
            self.embeds += 1


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of a batch, as it is told; and how its budget is spread, if it is."""

    told: dict[str, Any]
    allotted: Allotted | None = None
    pilot: Pilot | None = None


def plan(lines: Iterable[Line], terms: Terms, allot_nusd: int | None = None) -> dict[str, Any]:
    """What a file might cost and take, where lines that ask the same are asked once. allot_nusd: a
    budget that is allotted to all of it together.
    """
    sample = Sample(EXAMINED)
    bad: list[Unpriced] = []
    counts = Counter[str]()
    with FirstLines() as seen:
        for line in lines:
            counts["lines"] += 1
            if isinstance(line, RejectedLine):
                counts["rejected"] += 1
                if len(bad) < SHOWN:
                    bad.append(Unpriced(line.line, line.custom_id, line.code, line.message))
            elif _is_repeated(line, seen):
                counts["duplicates"] += 1
            else:
                sample.add(line)
    return {
        "lines": counts["lines"],
        "jobs": counts["lines"] - counts["rejected"],
        "rejected": counts["rejected"],
        "duplicates": counts["duplicates"],
        "bad_lines": [line.to_dict() for line in bad],
        **forecast(sample, terms, allot_nusd).told,
    }


def forecast(
    sample: Sample, terms: Terms, allot_nusd: int | None = None, *, most: int = EXAMINED
) -> Forecast:
    """What is expected of the lines of a sample, of which at most so many are looked at."""
    if allot_nusd is None:
        return Forecast(_told(sample, terms, most))
    spread = allotted([line.request for line in sample.kept], sample.seen, allot_nusd, terms)
    if spread is None:
        return Forecast(_told(sample, terms, most))
    policy = replace(terms.policy, gain_per_usd=spread.allotment.gain_per_usd)
    told = _told(sample, replace(terms, policy=policy), most)
    return Forecast(told | {"allotment": spread.told()}, spread)


def with_pilot(found: Forecast, pilot: Pilot, sample: Sample, terms: Terms, most: int) -> Forecast:
    """The forecast of a batch with a pilot, whose lines are asked of every tier. For the rest the
    usual routing is expected; where a limit on the loss is set, the strongest tier may get it all.
    """
    figures = dict(found.told["cost_nusd"])
    if pilot.max_quality_loss is not None:
        strongest = replace(terms.policy, piloting=Piloting(otherwise=Tier.HIGH))
        told = _told(sample, replace(terms, policy=strongest), most)["cost_nusd"]
        figures |= {name: max(figures[name], told[name]) for name in ("p95", "worst")}
    extra, worst = _compared(pilot, sample, terms)
    figures["p50"] += round(extra)
    figures["p95"] += round(_PILOT_AT_MOST * extra)
    figures["worst"] = max(figures["p95"], figures["worst"] + worst)
    texts = {name: usd_from_nusd(nusd) for name, nusd in figures.items()}
    return replace(found, told=found.told | {"cost_nusd": figures, "cost_usd": texts}, pilot=pilot)


def _compared(pilot: Pilot, sample: Sample, terms: Terms) -> tuple[float, int]:
    """What asking every tier costs beyond the usual: expected, and at most."""
    routes = PreparedRoutes(terms.catalog)
    every_tier = replace(terms, policy=replace(terms.policy, piloting=Piloting(asks_all=True)))
    extra, worst = 0.0, 0
    for line in sample.kept:
        if line.line not in pilot.lines:
            continue
        classification, usual = _decide(line.request, terms, routes)
        asked = routes.route(line.request, classification, every_tier.policy)
        if isinstance(usual, Route) and isinstance(asked, Route):
            one = _cost(line.request, classification, usual, terms)
            all_of_them = _cost(line.request, classification, asked, every_tier)
            extra += sum(call.mean_nusd for call in all_of_them.calls) - one.mean_nusd
            worst += all_of_them.worst_nusd - one.worst_nusd
    return max(0.0, extra), max(0, worst)


def _told(sample: Sample, terms: Terms, most: int) -> dict[str, Any]:
    routes = PreparedRoutes(terms.catalog)
    costs: list[LineCost] = []
    firsts = Counter[str]()
    unpriced: list[Unpriced] = []
    unroutable = 0
    looked_at = sample.kept[:: -(-len(sample.kept) // most) or 1]
    for line in looked_at:
        classification, routed = _decide(line.request, terms, routes)
        if isinstance(routed, NoRoute):
            unroutable += 1
            unpriced.append(Unpriced(line.line, line.custom_id, routed.code, routed.message))
            continue
        firsts[routed.first_model] += 1
        costs.append(_cost(line.request, classification, routed, terms))
    scale = sample.seen / len(looked_at) if looked_at else 0.0
    priced = round(len(costs) * scale)
    cost = batch_cost(costs, priced)
    figures = {"p50": cost.p50, "p95": cost.p95, "worst": cost.worst}
    return {
        "examined": len(looked_at),
        "unroutable": round(unroutable * scale),
        "cost_nusd": figures,
        "cost_usd": {name: usd_from_nusd(nusd) for name, nusd in figures.items()},
        "models": [
            {"model": model, "jobs": round(count * scale)} for model, count in firsts.most_common()
        ],
        "unpriced": [line.to_dict() for line in unpriced[:SHOWN]],
        "seconds": round(seconds_for(costs, priced, terms.catalog, terms.room), 1),
    }


def _decide(
    request: Request, terms: Terms, routes: PreparedRoutes
) -> tuple[Classification, Route | NoRoute]:
    classification = UNCLASSIFIED
    if request.embed is None:
        classification = terms.classifier.classify(request)
    return classification, routes.route(request, classification, terms.policy)


def _cost(request: Request, classification: Classification, route: Route, terms: Terms) -> LineCost:
    cost = line_cost(
        request,
        classification,
        route,
        terms.catalog.models,
        terms.expectations,
        terms.policy,
    )
    if terms.policy.classify_with is None and terms.policy.rubric is None:
        return cost
    by = (terms.catalog, terms.expectations, terms.policy)
    return with_asides(cost, request, classification, route, *by)


def _size(line: ValidLine) -> int:
    return sum(len(str(message.get("content"))) for message in line.asked.messages)


def _is_repeated(line: ValidLine, seen: FirstLines) -> bool:
    """Whether an earlier line asks the same, so that this one is not asked."""
    digest = asked_once(line.asked)
    return digest is not None and seen.first(digest, line.line) != line.line
