"""The page of failure modes names every repairer, and only tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "failure_modes.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/\S+?\.py)::(test_\w+)`", PAGE)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path: str, name: str):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)


def test_every_row_names_the_test_that_shows_it():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
    bodies = [row for row in rows if not row.endswith("| shown by |")]
    assert bodies
    for row in bodies:
        assert "::test_" in row, row


def test_every_repairer_is_named():
    folder = ROOT / "worker" / "maintenance"
    repairers = {
        path.stem
        for path in folder.glob("*.py")
        if "def run_once" in path.read_text(encoding="utf-8") and path.stem != "rounds"
    }
    # The pruner repairs no failure: it only keeps the tables small.
    assert {name for name in repairers if f"`{name}`" not in PAGE} == {"pruner"}
