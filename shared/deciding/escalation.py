"""What follows a verdict: keep the answer, or ask a stronger rung; and which answer is kept."""

from collections.abc import Sequence

from shared.domain.decisions import Accept, Climb, NextStep, Route, Verdict


def next_step(route: Route, rung_index: int, climbs: int, verdict: Verdict) -> NextStep:
    """After an answer from the rung `rung_index`, with `climbs` made so far.

    Every weakness climbs alike, a truncated answer too, until the ladder or the number of climbs
    ends; then the best answer so far is kept.
    """
    if verdict.accepted:
        return Accept("accepted")
    if climbs >= route.max_climbs:
        return Accept(f"weak, and no climb is left of {route.max_climbs}")
    if rung_index + 1 >= len(route.rungs):
        return Accept("weak, and there is no stronger rung")
    return Climb(rung_index + 1, "; ".join(verdict.reasons) or "weak")


def best_of(verdicts: Sequence[Verdict]) -> int:
    """The index of the answer to keep: accepted before weak, then by score; of equals the later
    one, which came from the stronger model. Raises ValueError where there is none.
    """
    if not verdicts:
        raise ValueError("there is no answer to keep")
    if len(verdicts) == 1:
        return 0
    return max(
        range(len(verdicts)),
        key=lambda place: (verdicts[place].accepted, verdicts[place].score, place),
    )
