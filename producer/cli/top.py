"""`top`: the whole mill live on a terminal, as the console shows it."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.cli.arguments import AsJson
from producer.cli.printing import money, note, plain, print_json, shortened
from producer.cli.session import connected
from shared.errors import PromptmillError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_ENDED = ("completed", "failed", "cancelled", "expired")
_SPENDERS = 8


def top(
    every: Annotated[
        float, typer.Option("--every", min=0.2, metavar="SECONDS", help="How often to look.")
    ] = 2.0,
    as_json: AsJson = False,
) -> None:
    """What runs, waits, costs and is wrong, live until Ctrl-C; once where there is no terminal."""
    with connected() as mill:
        if as_json:
            print_json(mill.overview())
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(highlight=False)
        seen = mill.overview()
        if not console.is_terminal:
            console.width = 160
            console.print(screen(seen, None))
            return
        with Live(screen(seen, None), console=console, screen=True, auto_refresh=False) as live:
            before = seen
            while True:
                time.sleep(every)
                try:
                    seen = mill.overview()
                except PromptmillError as error:
                    note(error.message)
                    continue
                live.update(screen(seen, before), refresh=True)
                before = seen


def screen(seen: Mapping[str, Any], before: Mapping[str, Any] | None) -> "RenderableType":
    """One look at the mill; rates are told from the look before."""
    from rich.console import Group

    parts = [_head(seen, before), _batches(seen), _budgets(seen), _troubles(seen)]
    return Group(*(part for part in parts if part is not None))


def rates(seen: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, float]:
    """Jobs that ended and attempts a second since the look before; none where that is none, or
    counting began anew.
    """
    if before is None:
        return {}
    from datetime import datetime

    passed = datetime.fromisoformat(seen["at"]) - datetime.fromisoformat(before["at"])
    seconds = passed.total_seconds()
    sums = [
        (
            sum(look["totals"]["jobs"].get(end, 0) for end in _ENDED),
            sum(look["totals"]["attempts"].values()),
        )
        for look in (seen, before)
    ]
    jobs, attempts = (now - then for now, then in zip(*sums, strict=True))
    if seconds <= 0 or jobs < 0 or attempts < 0:
        return {}
    return {"jobs": jobs / seconds, "attempts": attempts / seconds}


def _head(seen: Mapping[str, Any], before: Mapping[str, Any] | None) -> "Table":
    found = rates(seen, before)
    jobs = seen.get("jobs", {})
    table = _table(f"Promptmill  {seen['at'][:19].replace('T', ' ')} UTC", "", "")
    rows = {
        "jobs running / held": f"{jobs.get('running', 0):,} / {jobs.get('held', 0):,}",
        "calls in flight": f"{seen['calls_in_flight']:,}",
        "chunks waiting": f"{sum(seen.get('queues', {}).values()):,}",
        "spent today, reserved": (
            f"{money(seen.get('spent_today_nusd', 0))}, {money(seen.get('reserved_nusd', 0))}"
        ),
        "webhooks to deliver": f"{seen.get('webhooks', {}).get('pending', 0):,}",
        "processes": ", ".join(f"{n} {kind}" for kind, n in seen.get("processes", {}).items()),
    }
    if found:
        rows["jobs, attempts a second"] = f"{found['jobs']:,.1f}, {found['attempts']:,.1f}"
    if seen["missing"]:
        rows["does not answer"] = ", ".join(seen["missing"])
    for name, value in rows.items():
        table.add_row(name, plain(value))
    return table


def _batches(seen: Mapping[str, Any]) -> "Table | None":
    table = _table("Batches under way", "batch", "project", "name", "status", ">done", ">failed",
                   ">cost")  # fmt: skip
    for row in seen.get("batches", ()):
        ended = f"{row['completed'] + row['failed']:,} of {row['total']:,}"
        cells = (row["id"], row["project"], shortened(row["name"] or "", 30), row["status"])
        table.add_row(*map(_text, (*cells, ended, f"{row['failed']:,}", money(row["cost_nusd"]))))
    return table if table.row_count else None


def _budgets(seen: Mapping[str, Any]) -> "Table | None":
    table = _table("Spent, most first", "project", "window", ">spent", ">limit", ">left")
    rows = sorted(seen.get("budgets", ()), key=lambda row: -row["spent_nusd"])
    for row in rows[:_SPENDERS]:
        amounts = (money(row[f"{name}_nusd"]) for name in ("spent", "limit", "left"))
        table.add_row(*map(_text, (row["project"], row["window"], *amounts)))
    return table if table.row_count else None


def _troubles(seen: Mapping[str, Any]) -> "Table | None":
    table = _table("To look at", "", "", "since")
    for row in seen.get("alerts", ()):
        table.add_row(*map(_text, (row["severity"], row["message"], row["since"][:19])))
    for row in seen.get("sick_providers", ()):
        words = f"{row['provider']}: {row['keys']} of its keys {row['state']}: {row['reason']}"
        table.add_row(*map(_text, ("provider", words, "")))
    return table if table.row_count else None


def _text(value: str) -> Any:
    from rich.text import Text

    return Text(plain(value))


def _table(title: str, *columns: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=any(columns))
    for name in columns:
        right = name.startswith(">")
        table.add_column(name.removeprefix(">"), justify="right" if right else "left")
    return table
