"""Who is blamed for a worker's death, who runs alone, who is set aside."""

import pytest

from shared.domain.blame import UNEXPLAINED, BlameRule, Guilt


class Job:
    def __init__(self, rule: BlameRule) -> None:
        self.rule = rule
        self.deaths = 0
        self.blamed = 0

    def dies(self, *, marked: bool) -> None:
        """Its worker dies while working on it, marked where jobs are."""
        is_marked = marked and self.deaths > 0
        guilt = self.rule.guilt(self.deaths, is_marked=is_marked, is_any_marked=is_marked)
        self.deaths += guilt.deaths
        self.blamed += guilt.blamed

    @property
    def is_poison(self) -> bool:
        return self.rule.is_poison(self.deaths, self.blamed)

    @property
    def runs_alone(self) -> bool:
        return self.rule.runs_alone(self.deaths, self.blamed)


@pytest.mark.parametrize("max_deaths", [1, 2, 3, 4, 20])
def test_a_job_that_kills_in_its_steps_costs_exactly_so_many_workers(max_deaths: int):
    job, deaths, alone = Job(BlameRule(max_deaths)), 0, []
    while not job.is_poison:
        alone.append(job.runs_alone)
        job.dies(marked=True)
        deaths += 1
    assert deaths == max_deaths
    # The last one takes nobody with it, where it is told from the first one that it marks.
    assert alone == [False] * min(max_deaths, max(2, max_deaths - 1)) + [True] * (max_deaths > 2)


@pytest.mark.parametrize("max_deaths", [2, 3, 20])
def test_crashes_that_leave_no_mark_blame_nobody_but_are_looked_into_in_the_end(max_deaths: int):
    job = Job(BlameRule(max_deaths))
    for _ in range(max_deaths + UNEXPLAINED):
        assert not job.runs_alone
        job.dies(marked=False)
        assert (job.is_poison, job.blamed) == (False, 0)
    for _ in range(max_deaths - 1):
        assert job.runs_alone
        assert not job.is_poison
        job.dies(marked=False)
    assert job.is_poison


def test_whoever_was_beside_a_marked_job_is_cleared():
    rule = BlameRule(3)
    assert rule.guilt(0, is_marked=False, is_any_marked=True) is Guilt.CLEARED
    assert rule.guilt(2, is_marked=False, is_any_marked=True) is Guilt.CLEARED
    assert (Guilt.CLEARED.deaths, Guilt.CLEARED.blamed) == (0, 0)


def test_with_one_death_allowed_the_first_one_is_the_last():
    job = Job(BlameRule(1))
    job.dies(marked=False)
    assert job.is_poison
