"""A pilot's verdict: which tier does for which kind of prompt, with what confidence. Pure.

In a pilot every tier is asked the same lines, a sample in proportion to the kinds of prompts there
are. A tier loses a line where the strongest tier's answer is accepted and its own is refused by the
checks, or says something else where the two can be compared. For open answers nothing but the
checks is known: that is this measure's weakness.

Bounds are Clopper's and Pearson's, one-sided at 95 %. With a limit on the loss, one half of the
lines only chooses, and the other half tests the choices one after the other until one fails: each
test is made on lines that had no say in the choice, and a fixed order needs no correction for
making several (as in the closed testing of ordered hypotheses).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, lgamma, log
from typing import Any, Final

from shared.deciding.constraints import rank
from shared.deciding.scoring import need_in_steps
from shared.domain.decisions import Classification, Level
from shared.domain.inference import Tier

MISTAKEN: Final = 0.05
"""How often a bound may be wrong."""
USUAL_LINES: Final = 100
"""Lines of a pilot without a limit on the loss."""
LEAST_LINES: Final = 20
REST_PER_LINE: Final = 3
"""A pilot pays only where so many lines follow for each of its own."""
_ADEQUATE: Final = 0.8  # the share of answers that must do, by the bound


def cluster_of(classification: Classification) -> str:
    """The kind of a prompt: its task type and how much it needs."""
    level = Level.of(min(1.0, max(0.0, need_in_steps(classification))))
    return f"{classification.task_type.value}/{level.value}"


def lines_for(jobs: int, max_quality_loss: float | None) -> int:
    """How many lines of a batch a pilot asks; 0 where it cannot pay.

    With a limit: twice as many as show it where nothing is lost, if the batch has them.
    """
    wanted = USUAL_LINES
    if max_quality_loss is not None:
        wanted = 2 * ceil(log(MISTAKEN) / log(1.0 - max_quality_loss))
    lines = min(wanted, jobs // (1 + REST_PER_LINE))
    return lines if lines >= LEAST_LINES else 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One line of a pilot: what each tier's answer cost, and which tiers lost it."""

    cluster: str
    costs_nusd: Mapping[Tier, int]
    lost: frozenset[Tier]


@dataclass(frozen=True, slots=True)
class Choice:
    """The tier for a kind of prompt. lost: of `lines` trials; bound: no more than this share of
    answers is lost there, at 95 %.
    """

    cluster: str
    tier: Tier
    lines: int
    lost: int
    bound: float

    def to_dict(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "cluster": self.cluster,
            "tier": self.tier.value,
            "lines": self.lines,
            "lost": self.lost,
            "bound": round(self.bound, 4),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows a pilot. loss_bound: of the whole batch at 95 %, where a limit was given; None
    where none was. Kinds without a choice are routed as usual; with a limit, to the strongest tier.
    """

    choices: tuple[Choice, ...]
    loss_bound: float | None = None


def decide(trials: Sequence[Trial], max_quality_loss: float | None) -> Outcome:
    """The cheapest tier that does, for each kind of prompt."""
    if not trials:
        return Outcome(())
    if max_quality_loss is None:
        return Outcome(tuple(filter(None, map(_cheapest_adequate, _by_cluster(trials).values()))))
    return _within(trials, max_quality_loss)


def upper_bound(lost: int, lines: int) -> float:
    """The share of losses that is not exceeded, at 95 %, after `lost` of `lines`."""
    if lost >= lines:
        return 1.0
    low, high = lost / lines, 1.0
    for _ in range(50):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _at_most(lost, lines, middle) > MISTAKEN else (low, middle)
    return high


def _at_most(lost: int, lines: int, share: float) -> float:
    """The chance of at most so many losses among these lines."""
    if share <= 0.0:
        return 1.0
    chosen = lgamma(lines + 1)
    return sum(
        exp(
            chosen
            - lgamma(count + 1)
            - lgamma(lines - count + 1)
            + count * log(share)
            + (lines - count) * log(1.0 - share)
        )
        for count in range(lost + 1)
    )


def _cheapest_adequate(trials: Sequence[Trial]) -> Choice | None:
    for tier in _tiers(trials):
        lost = sum(tier in trial.lost for trial in trials)
        bound = upper_bound(lost, len(trials))
        if bound <= 1.0 - _ADEQUATE:
            return Choice(trials[0].cluster, tier, len(trials), lost, bound)
    return None


def _within(trials: Sequence[Trial], limit: float) -> Outcome:
    """Choices in the order of what they promised to lose, as long as all of them together stay
    within the limit on the other half; all else goes to the strongest tier, which loses nothing.
    """
    choosing, testing = trials[::2], trials[1::2]
    strongest = max((tier for trial in trials for tier in trial.costs_nusd), key=rank)
    by_cluster = _by_cluster(testing)
    chosen: dict[str, Tier] = {}
    bound = upper_bound(0, len(testing)) if testing else 1.0
    for _, cluster, tier in _moves(choosing, strongest, limit):
        tried = {**chosen, cluster: tier}
        lost = sum(tried.get(trial.cluster) in trial.lost for trial in testing)
        now = upper_bound(lost, len(testing))
        if not testing or now > limit:
            break
        chosen, bound = tried, now
    everywhere = {*by_cluster, *_by_cluster(choosing)}
    choices = []
    for cluster in sorted(everywhere):
        own, tier = by_cluster.get(cluster, []), chosen.get(cluster, strongest)
        lost = sum(tier in trial.lost for trial in own)
        own_bound = 0.0 if tier is strongest else upper_bound(lost, len(own))
        choices.append(Choice(cluster, tier, len(own), lost, own_bound))
    return Outcome(tuple(choices), bound if chosen else 0.0)


def _moves(
    trials: Sequence[Trial], strongest: Tier, limit: float
) -> list[tuple[tuple[float, int], str, Tier]]:
    moves = []
    for cluster, own in _by_cluster(trials).items():
        for tier in _tiers(own):
            share = sum(tier in trial.lost for trial in own) / len(own)
            if tier is not strongest and share <= limit:
                moves.append(((share, -len(own)), cluster, tier))
                break
    return sorted(moves)


def _by_cluster(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        found[trial.cluster].append(trial)
    return dict(found)


def _tiers(trials: Sequence[Trial]) -> list[Tier]:
    """The tiers that answered all of these, the cheapest first."""
    everywhere = set.intersection(*(set(trial.costs_nusd) for trial in trials))
    return sorted(everywhere, key=rank)
