"""What `top` makes of two looks at the mill."""

from typing import Any

import pytest
from rich.console import Console

from producer.cli.top import rates, screen


def look(second: int, ended: int, attempts: int, **more: Any) -> dict[str, Any]:
    totals = {"jobs": {"completed": ended, "held": 7}, "attempts": {"answered": attempts}}
    at = f"2026-11-21T10:00:{second:02}+00:00"
    return {"at": at, "missing": [], "calls_in_flight": 3, "totals": totals, **more}


def test_rates_are_told_from_one_look_to_the_next() -> None:
    assert rates(look(4, 40, 90), look(2, 10, 50)) == {"jobs": 15.0, "attempts": 20.0}
    assert rates(look(4, 40, 90), None) == {}
    assert rates(look(4, 0, 0), look(2, 10, 50)) == {}  # the mill came up anew


def test_what_is_wrong_is_shown_without_what_could_move_the_cursor() -> None:
    alert = {"severity": "critical", "message": "[bold]no\x1b[2Jworker", "since": "2026-11-21T09"}
    console = Console(width=120, record=True, force_terminal=False)
    console.print(screen(look(4, 40, 90, missing=["redis"], alerts=[alert]), None))
    shown = console.export_text()
    assert "[bold]no\N{REPLACEMENT CHARACTER}[2Jworker" in shown
    assert "does not answer" in shown


@pytest.mark.parametrize("width", [80, 120])
def test_a_batch_can_be_asked_for_and_its_figures_are_whole_on_any_terminal(width: int) -> None:
    rows = [
        {"id": f"batch_{n:024}", "project": "marketing-emea-2026", "name": "nightly summaries"}
        | {"status": status, "total": 1_000_000, "completed": 345_678, "failed": 12}
        | {"cost_nusd": 123_456_789_012}
        for n, status in enumerate(("in_progress", "cancelling"))
    ]
    console = Console(width=width, record=True, force_terminal=False)
    console.print(screen(look(4, 40, 90, batches=rows), None, width))
    shown = console.export_text()
    lines = [
        line.replace("\N{HORIZONTAL ELLIPSIS}", " ").split()
        for line in shown.splitlines()
        if "batch_0" in line
    ]
    assert [line[0] for line in lines] == [row["id"] for row in rows]
    assert lines[0][-4:] == ["1,000,000", "35%", "12", "$123.46"]
    assert lines[1][-4:] == ["1,000,000", "cancelling", "12", "$123.46"]
    assert ("nightly" in shown) is (width > 100)
    assert max(map(len, shown.splitlines())) <= width


def test_an_idle_mill_says_so() -> None:
    console = Console(width=80, record=True, force_terminal=False)
    console.print(screen(look(4, 40, 90, batches=[]), None))
    assert "No batch is under way." in console.export_text()
