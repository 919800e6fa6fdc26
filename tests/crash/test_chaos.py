"""A short chaos run on each database; `make chaos` is the long one."""

import pytest

from tests.chaos import run


@pytest.mark.slow
@pytest.mark.parametrize(("database", "seed"), [("sqlite", 11), ("postgres", 12)])
def test_every_invariant_holds_under_random_violence(database: str, seed: int) -> None:
    figures, done, parts = run(seconds=20, seed=seed, jobs=600, database=database)

    assert figures.jobs >= 600
    assert len(done) >= 3, "several kinds of violence"
    assert figures.bill_nusd > 0
    assert sum(parts.unconfirmed_nusd.values()) == figures.unconfirmed_nusd
