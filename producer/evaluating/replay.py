"""The evaluation: every policy and baseline over the same recorded outcomes, every call counted.

Two models are in play, a weak and a strong one. A policy by prompt alone sends a prompt to one of
them; the cascade asks the weak one and its peers, climbs where their answers differ, and pays for
all of them. Nothing is called: scores, answers and costs are the recorded ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from producer.evaluating.cascades import cheapest_ways, in_play
from producer.evaluating.frontier import Case, Curve, Point, curve
from producer.evaluating.outcomes import Outcome, Recorded
from producer.evaluating.verdict import oracle_cost, summed_up
from shared.deciding.classification.classifier import Classifier
from shared.deciding.classification.difficulty import difficulty_of
from shared.deciding.classification.features import read_features
from shared.deciding.scoring import floor_of, need_of
from shared.domain.inference import Request, Tier
from shared.domain.money import usd_from_nusd
from shared.errors import UsageError

CHEAP_SHARE: Final = 0.25
"""A model is called cheap up to this share of the strong one's cost."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: weak, strong, and the peers that check the weak one's answer."""

    weak: str
    strong: str
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Single:
    """A model that answers everything."""

    model: str
    quality: float
    cost_nusd: int | None


def singles(outcomes: Sequence[Outcome]) -> list[Single]:
    """Every model that was recorded for all prompts, the best first."""
    everywhere = set.intersection(*(set(outcome.models) for outcome in outcomes))
    found = []
    for name in everywhere:
        rows = [outcome.models[name] for outcome in outcomes]
        quality = sum(row.score for row in rows) / len(rows)
        found.append(Single(name, quality, _total(rows)))
    return sorted(found, key=lambda single: (-single.quality, single.cost_nusd or 0, single.model))


def cast(
    outcomes: Sequence[Outcome], weak: str | None, strong: str | None, peers: Sequence[str]
) -> Cast:
    """The models in play: those named; else the best as strong, and as weak the cheapest whose cost
    is known. Raises UsageError for a name not recorded for every prompt, and where none is found.
    """
    found = singles(outcomes)
    names = [single.model for single in found]
    for name in (weak, strong, *peers):
        if name is not None and name not in names:
            raise UsageError(f"no outcome of {name!r} for every prompt; recorded: {sorted(names)}")
    strong = strong or (names[0] if names else None)
    priced = [s for s in found if s.cost_nusd is not None and s.model != strong]
    if weak is None and priced:
        weak = min(priced, key=lambda single: (single.cost_nusd or 0, single.model)).model
    if weak is None or strong is None or weak == strong:
        raise UsageError("name the weak and the strong model (--weak, --strong), or give costs")
    if {weak, strong} & set(peers):
        raise UsageError("a peer is neither the weak nor the strong model", param="peer")
    return Cast(weak, strong, tuple(peers) or _peer_of(outcomes, found, weak, strong))


def _peer_of(
    outcomes: Sequence[Outcome], found: Sequence[Single], weak: str, strong: str
) -> tuple[str, ...]:
    """Where none is named: the cheapest other model, if each prompt has its and the weak one's
    answer, and asking both costs less than the strong one.
    """
    costs = {single.model: single.cost_nusd or 0 for single in found if single.cost_nusd}
    if not {weak, strong} <= costs.keys():
        return ()
    answered = [
        (cost, name)
        for name, cost in costs.items()
        if name not in {weak, strong}
        and cost + costs[weak] < costs[strong]
        and all(outcome.models[n].is_answered for outcome in outcomes for n in (name, weak))
    ]
    return (min(answered)[1],) if answered else ()


def evaluate(
    outcomes: Sequence[Outcome], cast: Cast, classifier: Classifier, target: float
) -> dict[str, Any]:
    """Figures of all policies; `target`: the share of the strong model's quality to be reached.

    With peers, only prompts that the weak model's and the peers' answers are recorded for count.
    """
    asked = len(outcomes)
    outcomes = [outcome for outcome in outcomes if _is_answered(outcome, cast)]
    if not outcomes:
        raise UsageError("no prompt has answers of the weak model and all peers", param="peer")
    decided = [classifier.classify(_request(outcome.prompt)) for outcome in outcomes]
    direct = [_case(outcome, cast, ()) for outcome in outcomes]
    needs = [need_of(classification) for classification in decided]
    orders: dict[str, list[float]] = {
        "policy": needs,
        "heuristic": [
            difficulty_of(read_features(outcome.prompt), classification.task_type)
            for outcome, classification in zip(outcomes, decided, strict=True)
        ],
        "length": [float(len(outcome.prompt)) for outcome in outcomes],
        "random": [0.0] * len(outcomes),
        "oracle": [case.strong - case.weak for case in direct],
    }
    curves = {name: curve(direct, order) for name, order in orders.items()}
    starts = [floor_of(classification) is not Tier.CHEAP for classification in decided]
    settings = {"policy": _where(direct, starts)}
    if cast.peers:
        checked = [_case(outcome, cast, cast.peers) for outcome in outcomes]
        doubts = [_disagreeing(outcome.models, cast) for outcome in outcomes]
        curves["agreement"] = curve(checked, [float(doubt) for doubt in doubts])
        both = [doubt + 0.5 * need for doubt, need in zip(doubts, needs, strict=True)]
        curves["agreement, then policy"] = curve(checked, both)
        settings["agreement"] = _where(checked, [doubt > 0 for doubt in doubts])
    told = _told(outcomes, cast, curves, settings, target) | {
        "left_out": asked - len(outcomes),
        "compares": _compares(outcomes),
        "chosen": cheapest_ways(outcomes, needs, cast.strong, target),
    }
    names = in_play(outcomes, cast.strong) if told["is_priced"] else []
    return told | summed_up(told, target, oracle_cost(outcomes, names, cast.strong, target))


def _compares(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How well answers can be compared: of those recorded, how many could be read; of pairs that
    are both right, how many say the same. Low figures mean that answers are spelled in ways that
    are not understood: then give what they come to as `parsed`.
    """
    answered = read = both = same = 0
    for outcome in outcomes:
        said = [one for one in outcome.models.values() if one.is_answered]
        answered += len(said)
        read += sum(one.answer_key is not None for one in said)
        right = [one.answer_key for one in said if one.score == 1.0]
        for one, other in combinations(right, 2):
            both += 1
            same += one is not None and one == other
    return {
        "answers": answered,
        "read": round(read / answered, 4) if answered else None,
        "right_pairs_alike": round(same / both, 4) if both else None,
    }


def _told(
    outcomes: Sequence[Outcome],
    cast: Cast,
    curves: Mapping[str, Curve],
    settings: Mapping[str, Point],
    target: float,
) -> dict[str, Any]:
    found = singles(outcomes)
    strong = next(single for single in found if single.model == cast.strong)
    priced = all(_is_priced(outcomes, name) for name in (cast.weak, cast.strong, *cast.peers))
    wanted = target * strong.quality
    return {
        "rows": len(outcomes),
        "weak": cast.weak,
        "strong": cast.strong,
        "peers": list(cast.peers),
        "target_quality": round(wanted, 6),
        "is_priced": priced,
        "singles": [_single(single, wanted) for single in found],
        "baselines": _baselines(found, strong),
        "policies": [
            {
                "policy": name,
                "apgr": _rounded(line.apgr),
                "cpt_50": _rounded(line.call_share(0.5)),
                "cpt_80": _rounded(line.call_share(0.8)),
                "at_target": _point(line.reaching(wanted), priced=priced),
                "as_set": _point(settings.get(name), priced=priced),
                "points": [_point(point, priced=priced) for point in line.thinned()],
            }
            for name, line in curves.items()
        ],
    }


def _baselines(found: Sequence[Single], strong: Single) -> dict[str, str | None]:
    """Names of the models that a router must beat."""
    priced = [single for single in found if single.cost_nusd is not None]
    limit = CHEAP_SHARE * (strong.cost_nusd or 0)
    cheap = [single for single in priced if (single.cost_nusd or 0) <= limit]
    cheapest = min(priced, key=lambda single: (single.cost_nusd or 0, single.model), default=None)
    return {
        "best_single": found[0].model,
        "cheapest": cheapest.model if cheapest else None,
        "best_single_cheap": cheap[0].model if cheap else None,
    }


def _is_answered(outcome: Outcome, cast: Cast) -> bool:
    return not cast.peers or all(
        outcome.models[name].is_answered for name in (cast.weak, *cast.peers)
    )


def _case(outcome: Outcome, cast: Cast, peers: Sequence[str]) -> Case:
    weak, strong = outcome.models[cast.weak], outcome.models[cast.strong]
    asked = sum(outcome.models[peer].cost_nusd or 0 for peer in peers) + (weak.cost_nusd or 0)
    # By prompt alone the strong model is asked in the place of the weak one, not after it.
    climb = (strong.cost_nusd or 0) + (asked if peers else 0)
    return Case(weak.score, strong.score, asked, climb)


def _disagreeing(models: Mapping[str, Recorded], cast: Cast) -> int:
    """How many peers say something else than the weak model; all, where it cannot be compared."""
    key = models[cast.weak].answer_key
    return sum(key is None or models[peer].answer_key != key for peer in cast.peers)


def _where(cases: Sequence[Case], climbs: Sequence[bool]) -> Point:
    """The point where exactly these prompts climb."""
    pairs = list(zip(cases, climbs, strict=True))
    return Point(
        share=sum(climbs) / len(pairs),
        quality=sum(case.strong if up else case.weak for case, up in pairs) / len(pairs),
        cost_nusd=sum(case.climb_nusd if up else case.stay_nusd for case, up in pairs),
    )


def _request(prompt: str) -> Request:
    return Request(messages=({"role": "user", "content": prompt},))


def _is_priced(outcomes: Sequence[Outcome], name: str) -> bool:
    return all(outcome.models[name].cost_nusd is not None for outcome in outcomes)


def _total(rows: Sequence[Recorded]) -> int | None:
    costs = [row.cost_nusd for row in rows]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def _single(single: Single, wanted: float) -> dict[str, Any]:
    return {
        "model": single.model,
        "quality": round(single.quality, 6),
        "reaches_target": single.quality >= wanted,
        **_money(single.cost_nusd),
    }


def _point(point: Point | None, *, priced: bool) -> dict[str, Any] | None:
    if point is None:
        return None
    told = {"strong_share": round(point.share, 4), "quality": round(point.quality, 6)}
    return told | _money(point.cost_nusd if priced else None)


def _money(nusd: int | None) -> dict[str, Any]:
    return {"cost_nusd": nusd, "cost_usd": None if nusd is None else usd_from_nusd(nusd)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
