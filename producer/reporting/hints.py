"""What a project could pay less for, told from what became of its jobs. Pure.

A hint is given only where the figures leave little doubt, and says them: how many jobs it is drawn
from, and what those would have cost otherwise. That figure is an estimate: nobody asked the other
model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.domain.inference import Tier

FEWEST_JOBS: Final = 50
"""Fewer jobs tell nothing: with 50 and not one exception, fewer than 6 in 100 are (95 %)."""
_OFTEN: Final = 0.5
_SELDOM_MENDED: Final = 0.2
_COSTLY: Final = 0.1
_WELL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Sums over jobs of one project and task type whose answer came from one tier; money in
    nano-dollars. tier is empty where there was no answer.
    """

    project: str
    task_type: str
    tier: str
    jobs: int
    completed: int
    climbed: int
    rescued: int
    cost_nusd: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What a project paid a provider, and the part of it that brought no answer."""

    project: str
    provider: str
    cost_nusd: int
    unconfirmed_nusd: int


@dataclass(frozen=True, slots=True)
class Hint:
    """Something to change. saves_nusd: what the period's jobs would have cost less, estimated; 0
    where it only makes things quicker or the room in the budget larger.
    """

    code: str
    project: str
    task_type: str
    provider: str
    jobs: int
    saves_nusd: int
    message: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """All tiers of a project's task type."""

    project: str
    task_type: str
    tiers: Mapping[str, Outcomes]

    def total(self, name: str) -> int:
        """The sum of a field."""
        return sum(getattr(tier, name) for tier in self.tiers.values())


def hints(outcomes: Iterable[Outcomes], spent: Iterable[Spent]) -> list[Hint]:
    """All hints, those that save most first."""
    found: list[Hint] = []
    for kind in _kinds(outcomes):
        if kind.total("jobs") >= FEWEST_JOBS:
            found += _of_kind(kind)
    found += [hint for each in spent for hint in _of_provider(each)]
    return sorted(found, key=lambda hint: (-hint.saves_nusd, hint.code, hint.project))


def _kinds(outcomes: Iterable[Outcomes]) -> Sequence[_Kind]:
    kinds: dict[tuple[str, str], dict[str, Outcomes]] = {}
    for each in outcomes:
        if each.task_type:
            kinds.setdefault((each.project, each.task_type), {})[each.tier] = each
    return [_Kind(*key, tiers) for key, tiers in sorted(kinds.items())]


def _of_kind(kind: _Kind) -> list[Hint]:
    jobs, climbed, rescued = (kind.total(name) for name in ("jobs", "climbed", "rescued"))
    found: list[Hint] = []
    used = {tier for tier, sums in kind.tiers.items() if tier and sums.completed}
    if used == {Tier.CHEAP.value} and not climbed:
        message = (
            f"None of {jobs} {kind.task_type} jobs needed more than the cheap tier. Ask for "
            "`cheap` by name: nothing is lost, and each job reserves less of the budget."
        )
        found.append(_hint("cheap_suffices", kind, jobs, 0, message))
    if climbed >= max(FEWEST_JOBS / 2, jobs * _OFTEN) and rescued >= climbed * _OFTEN:
        message = (
            f"{climbed} of {jobs} {kind.task_type} jobs had to climb, and {rescued} were mended by "
            "it: set `min_tier` one higher, and they are not paid for twice."
        )
        found.append(_hint("begin_higher", kind, climbed, 0, message))
    if climbed >= FEWEST_JOBS and rescued < climbed * _SELDOM_MENDED:
        message = (
            f"{climbed} {kind.task_type} jobs climbed and only {rescued} were mended by it: most "
            "climbs are paid for nothing. Set `max_climbs` to 0 for them, or look at what the "
            "judge refuses."
        )
        found.append(_hint("climbs_in_vain", kind, climbed, 0, message))
    return found + _dear(kind)


def _dear(kind: _Kind) -> list[Hint]:
    """Jobs that began on a strong tier though the cheap one does as well."""
    cheap = kind.tiers.get(Tier.CHEAP.value)
    if cheap is None or cheap.completed < FEWEST_JOBS:
        return []
    strong = [s for tier, s in kind.tiers.items() if tier not in {"", Tier.CHEAP.value}]
    climbed = sum(sums.climbed for sums in strong)
    direct = sum(sums.completed for sums in strong) - climbed
    # Who climbed had asked the cheap tier before: the share of its jobs that it could not answer.
    did_well = cheap.completed / (cheap.completed + climbed)
    if direct < FEWEST_JOBS or did_well < _WELL:
        return []
    of_strong = sum(sums.cost_nusd for sums in strong) * direct // max(1, direct + climbed)
    saves = of_strong - direct * (cheap.cost_nusd // cheap.completed)
    if saves <= 0:
        return []
    message = (
        f"{direct} {kind.task_type} jobs began above the cheap tier, which answers "
        f"{did_well:.0%} of those it is asked: let them be routed (`auto`) or begin there."
    )
    return [_hint("begin_lower", kind, direct, saves, message)]


def _of_provider(spent: Spent) -> list[Hint]:
    if spent.unconfirmed_nusd <= spent.cost_nusd * _COSTLY or not spent.unconfirmed_nusd:
        return []
    message = (
        f"{spent.unconfirmed_nusd / spent.cost_nusd:.0%} of what {spent.provider} is charged for "
        "brought no answer: raise its `timeout_s`, lower `max_tokens`, or lower its limits."
    )
    return [
        Hint(
            "paid_without_answer",
            spent.project,
            "",
            spent.provider,
            0,
            spent.unconfirmed_nusd,
            message,
        )
    ]


def _hint(code: str, kind: _Kind, jobs: int, saves_nusd: int, message: str) -> Hint:
    return Hint(code, kind.project, kind.task_type, "", jobs, saves_nusd, message)
