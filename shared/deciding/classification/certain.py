"""What needs no weighing: prompts of which a look at the whole text is enough.

The words of "What is 2 + 3?" are those of a problem to be reasoned about, which is what the model
was taught by sets of such problems; anyone knows the answer by heart.
"""

import re
from typing import Final

from shared.domain.decisions import Classification
from shared.domain.inference import TaskType

_LONGEST: Final = 60
_KNOWN_BY_HEART = re.compile(
    r"\s*(?:(?:what(?:'s| is| does)|how much is|calculate|compute|add|work out)\s+)?"
    r"(?:\d{1,2}\s*(?:[+-]|plus|minus|and)\s*\d{1,2}"
    r"|(?:\d|1[0-2])\s*(?:[*x×]|times|multiplied by)\s*(?:\d|1[0-2]))"  # noqa: RUF001
    r"(?:\s*(?:equal|make|=))?\s*[?.=]*\s*",
    re.IGNORECASE,
)
_A_SUM: Final = Classification(
    TaskType.SIMPLE_QA, 0.02, 0.97, ("a sum that is known by heart",), source="rules"
)


def certain(prompt: str) -> Classification | None:
    """The classification of a prompt that leaves no doubt; None where there is any."""
    if len(prompt) <= _LONGEST and _KNOWN_BY_HEART.fullmatch(prompt):
        return _A_SUM
    return None
