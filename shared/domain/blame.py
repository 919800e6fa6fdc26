"""What the deaths of workers say about the jobs they had: who runs alone, and who is poison.

A worker that dies has hundreds of jobs. Where it left a mark of the one it was working on (see
`worker.work_marks`), that one is blamed and the others are cleared. Where it left none, it counts
as a death with each of them and nobody is blamed: power cuts and nodes out of memory say nothing
about prompts.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

UNEXPLAINED: Final = 5
"""So many deaths more than `max_deaths`, and the kind that leaves no mark is looked for, too: more
crashes of whole machines than a job lives through, fewer workers than anybody wants to lose."""


class Guilt(Enum):
    """A job's part in a worker's death, as (deaths, blamed) that it adds to the job's counts."""

    CLEARED = (0, 0)
    PRESENT = (1, 0)
    BLAMED = (1, 1)

    @property
    def deaths(self) -> int:
        """Workers that died with it."""
        return self.value[0]

    @property
    def blamed(self) -> int:
        """Of these, those that were working on it as they died."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class BlameRule:
    """max_deaths: workers that a job may cost. The first one leaves no mark, for only jobs that saw
    a death are marked; with the others it must have been this job that was worked on.
    """

    max_deaths: int

    @property
    def last_deaths(self) -> int:
        """From so many deaths on a job may be on its last chance."""
        return max(1, self.max_deaths - 1)

    @property
    def last_blamed(self) -> int:
        """It is, if it was blamed so often."""
        return max(1, self.max_deaths - 2)

    @property
    def unexplained(self) -> int:
        """From so many deaths on a job runs alone, whoever was blamed."""
        return self.max_deaths + UNEXPLAINED

    def runs_alone(self, deaths: int, blamed: int) -> bool:
        """Whether nothing else may be in the process: on its last chance, so that no other call is
        lost with it, and where it is time to find out.
        """
        last_chance = deaths >= self.last_deaths and blamed >= self.last_blamed
        return last_chance or deaths >= self.unexplained

    def guilt(self, deaths: int, *, is_marked: bool, is_any_marked: bool) -> Guilt:
        """A job's part in its worker's death. deaths: without this one. is_any_marked: the worker
        left a mark, of this job or another.
        """
        if is_marked or deaths >= self.unexplained:
            return Guilt.BLAMED
        return Guilt.CLEARED if is_any_marked else Guilt.PRESENT

    def is_poison(self, deaths: int, blamed: int) -> bool:
        """Whether to set it aside. Both with the latest death."""
        return deaths >= self.max_deaths and blamed >= self.max_deaths - 1
