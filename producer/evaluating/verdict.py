"""What an evaluation comes to: one sentence, and the chosen cascade beside what it has to beat."""

from collections.abc import Mapping, Sequence
from typing import Any

from producer.evaluating.outcomes import Outcome

_HUNDRED = 100


def summed_up(told: Mapping[str, Any], target: float, oracle_nusd: int | None) -> dict[str, Any]:
    """The headline of what was told, and the baselines; `oracle_nusd`: see `oracle_cost`."""
    strong = next(row for row in told["singles"] if row["model"] == told["strong"])
    chosen = {row["chosen_of"]: row for row in told["chosen"]}
    cascade = chosen.get("cascade")
    return {
        "headline": _headline(told, cascade, strong, target),
        "compared": list(_compared(told, chosen, strong["cost_nusd"], oracle_nusd)),
    }


def oracle_cost(
    outcomes: Sequence[Outcome], names: Sequence[str], strong: str, target: float
) -> int | None:
    """What reaches the target would cost whoever knew which model is right: the bound. None where
    costs are missing or the target is out of reach.
    """
    if not names:
        return None
    wanted = target * sum(outcome.models[strong].score for outcome in outcomes)
    score, cost, steps = 0.0, 0, []
    for outcome in outcomes:
        ways = sorted((outcome.models[n].cost_nusd or 0, -outcome.models[n].score) for n in names)
        score -= ways[0][1]
        cost += ways[0][0]
        for price, minus in ways[1:]:
            if -minus > -ways[0][1]:
                gain, extra = ways[0][1] - minus, price - ways[0][0]
                steps.append((extra / gain, gain, extra))
                break
    for _, gain, extra in sorted(steps):
        if score >= wanted:
            break
        score, cost = score + gain, cost + extra
    return cost if score >= wanted - 1e-9 else None


def _headline(
    told: Mapping[str, Any],
    cascade: Mapping[str, Any] | None,
    strong: Mapping[str, Any],
    target: float,
) -> dict[str, Any]:
    if cascade is not None and cascade["of_strong_cost"] is not None:
        share = cascade["quality"] / strong["quality"] if strong["quality"] else 1.0
        way = ", then ".join(f"{name} ({_share(part)})" for name, part in cascade["calls"].items())
        text = (
            f"{_share(target)} of {told['strong']}'s quality (here {_share(share)}) at "
            f"{_share(cascade['of_strong_cost'])} of its cost by {way}: the share of prompts for "
            "which each is asked"
        )
        found = {"of_strong_quality": round(share, 4), "calls": cascade["calls"]}
        return found | {"of_strong_cost": cascade["of_strong_cost"], "text": text}
    best = min(
        (row for row in told["policies"] if row["policy"] != "oracle" and row["at_target"]),
        key=lambda row: row["at_target"]["strong_share"],
        default=None,
    )
    text = "no policy reaches the target"
    if best is not None:
        part = _share(best["at_target"]["strong_share"])
        why = "costs are missing" if not told["is_priced"] else "too few prompts to choose by"
        text = (
            f"{_share(target)} of {told['strong']}'s quality by asking it for {part} of the "
            f"prompts, {told['weak']} first, by {best['policy']} ({why}: no cascade was chosen)"
        )
    return {"of_strong_quality": None, "calls": {}, "of_strong_cost": None, "text": text}


def _compared(
    told: Mapping[str, Any],
    chosen: Mapping[str, Mapping[str, Any]],
    strong_nusd: int | None,
    oracle_nusd: int | None,
) -> list[dict[str, Any]]:
    wanted = told["target_quality"]
    rows: list[tuple[str, float | None, int | None]] = []
    singles = {row["model"]: row for row in told["singles"]}
    for kind, name in told["baselines"].items():
        if name is not None:
            label = f"{kind.replace('_', ' ')}: {name}"
            rows.append((label, singles[name]["quality"], singles[name]["cost_nusd"]))
    for policy in ("random", "heuristic"):
        row = next(row for row in told["policies"] if row["policy"] == policy)
        point = row["at_target"] or {}
        rows.append((policy, point.get("quality"), point.get("cost_nusd")))
    rows.extend(
        (name, chosen[name]["quality"], chosen[name]["cost_nusd"])
        for name in ("one model at random", "one model by prompt")
        if name in chosen
    )
    rows.append(("oracle", wanted if oracle_nusd is not None else None, oracle_nusd))
    own = chosen["cascade"]["cost_nusd"] if "cascade" in chosen else None
    return [
        {
            "baseline": name,
            "quality": quality,
            "reaches_target": quality is not None and quality >= wanted - 1e-9,
            "cost_nusd": cost,
            "of_strong_cost": round(cost / strong_nusd, 4) if cost and strong_nusd else None,
            "cascade_costs": round(own / cost, 4) if own is not None and cost else None,
        }
        for name, quality, cost in rows
    ]


def _share(value: float) -> str:
    return f"{value * _HUNDRED:.1f} %".replace(".0 %", " %")
