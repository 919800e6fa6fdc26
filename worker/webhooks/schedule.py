"""When a delivery is tried again, and when it is given up. Pure."""

DELAYS_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""Seconds before each try, counted from the failure of the one before: about 28 hours in all."""

JITTER = 0.1
_LONGEST_S = 36_000.0


def delay_before_next(
    tries_made: int, chance: float, retry_after_s: float | None = None
) -> float | None:
    """Seconds until the next try; None when there is none left.

    `chance` in 0..1 spreads the tries over up to a tenth more, so that receivers that were down do
    not get everything at one moment. A Retry-After of the receiver counts where it is longer.
    """
    if tries_made >= len(DELAYS_S):
        return None
    delay = DELAYS_S[tries_made] * (1 + JITTER * chance)
    return max(delay, min(retry_after_s or 0.0, _LONGEST_S))
