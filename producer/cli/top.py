"""`top`: the whole mill live on a terminal, as the console shows it."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.cli.arguments import AsJson
from producer.cli.printing import money, note, plain, print_json
from producer.cli.session import connected
from shared.errors import PromptmillError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_ENDED = ("completed", "failed", "cancelled", "expired")
_SPENDERS = 8
_CENTS_FROM_NUSD = 10_000_000_000
_PIPE_WIDTH = 160
_WIDE = 110
_LEAST = 4
_USUAL = "in_progress"


def top(
    every: Annotated[
        float, typer.Option("--every", min=0.2, metavar="SECONDS", help="How often to look.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
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
        if once or not console.is_terminal:
            if not console.is_terminal:
                console.width = _PIPE_WIDTH
            console.print(screen(seen, None, console.width))
            return
        with Live(
            screen(seen, None, console.width), console=console, screen=True, auto_refresh=False
        ) as live:
            before = seen
            while True:
                time.sleep(every)
                try:
                    seen = mill.overview()
                except PromptmillError as error:
                    note(error.message)
                    continue
                live.update(screen(seen, before, console.width), refresh=True)
                before = seen


def screen(
    seen: Mapping[str, Any], before: Mapping[str, Any] | None, width: int = 80
) -> "RenderableType":
    """One look at the mill; rates are told from the look before. width: of the terminal."""
    from rich.console import Group

    title = _text(f"Promptmill  {seen['at'][:19].replace('T', ' ')} UTC")
    parts = [
        title,
        _head(seen, before),
        _troubles(seen),
        _batches(seen, width),
        _budgets(seen, width),
    ]
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
    table = _table("", "", "")
    rows = {
        "jobs running / held": f"{jobs.get('running', 0):,} / {jobs.get('held', 0):,}",
        "calls in flight": f"{seen['calls_in_flight']:,}",
        "chunks waiting": f"{sum(seen.get('queues', {}).values()):,}",
        "spent today, reserved": (
            f"{_short(seen.get('spent_today_nusd', 0))}, {_short(seen.get('reserved_nusd', 0))}"
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


def _batches(seen: Mapping[str, Any], width: int) -> "RenderableType | None":
    rows = seen.get("batches", ())
    if not rows:
        return _text("No batch is under way.") if "batches" in seen else None
    named = width >= _WIDE and any(row["name"] for row in rows)
    names = ("batch", "~project", *(["~name"] if named else []), ">jobs", ">done", ">failed",
             ">cost")  # fmt: skip
    lines = []
    for row in rows:
        done = row["status"]
        if done == _USUAL:
            done = f"{(row['completed'] + row['failed']) / max(1, row['total']):.0%}"
        name = [row["name"] or ""] if named else []
        figures = (f"{row['total']:,}", done, f"{row['failed']:,}", _short(row["cost_nusd"]))
        lines.append((row["id"], row["project"], *name, *figures))
    return _filled("Batches under way, the newest first", names, lines, width)


def _budgets(seen: Mapping[str, Any], width: int) -> "Table | None":
    names = ("~project", "window", ">spent", ">limit", ">left")
    rows = sorted(seen.get("budgets", ()), key=lambda row: -row["spent_nusd"])
    lines = [
        (
            row["project"],
            row["window"],
            *(_short(row[f"{n}_nusd"]) for n in ("spent", "limit", "left")),
        )
        for row in rows[:_SPENDERS]
    ]
    return _filled("Spent, most first", names, lines, width) if lines else None


def _troubles(seen: Mapping[str, Any]) -> "Table | None":
    table = _table("To look at", "", "", "")
    for row in seen.get("alerts", ()):
        since = f"since {row['since'][:16].replace('T', ' ')}"
        table.add_row(*map(_text, (row["severity"], row["message"], since)))
    for row in seen.get("sick_providers", ()):
        words = f"{row['provider']}: {row['keys']} of its keys {row['state']}: {row['reason']}"
        table.add_row(*map(_text, ("provider", words, "")))
    return table if table.row_count else None


def _short(nusd: int | None) -> str:
    """An amount to glance at: cents from ten dollars on, below that as it is to four places."""
    if nusd is None or nusd == 0:
        return money(nusd)
    if abs(nusd) >= _CENTS_FROM_NUSD:
        return f"${nusd / 10**9:,.2f}"
    return f"${nusd / 10**9:.4f}" if abs(nusd) >= 10**5 else money(nusd)


def _text(value: str) -> Any:
    from rich.text import Text

    return Text(plain(value))


def _filled(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> "Table":
    """Rows under names; where it is narrow, columns of "~name" are cut short and no other."""
    widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
    fixed = sum(w for name, w in zip(names, widths, strict=True) if not name.startswith("~"))
    left = width - fixed - 2 * len(names) - 1
    share = max(_LEAST, left // max(1, sum(name.startswith("~") for name in names)))
    table = _table(title, *names)
    for row in rows:
        table.add_row(*map(_text, row))
    for column, name, widest in zip(table.columns, names, widths, strict=True):
        column.no_wrap = True
        column.width = min(widest, share) if name.startswith("~") else widest
    return table


def _table(title: str, *columns: str) -> "Table":
    """An empty one; columns of ">name" stand to the right."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_header=any(columns),
        padding=(0, 1, 0, 0),
    )
    for name in columns:
        table.add_column(name.lstrip(">~"), justify="right" if name.startswith(">") else "left")
    return table
