"""What `top` makes of two looks at the mill."""

from typing import Any

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
