"""`analytics ...`: looking back at usage, savings, models, hints and single requests."""

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Final

import typer

from producer.cli.arguments import AsJson
from producer.cli.printing import counted, money, print_json, print_table, say, shortened
from producer.cli.session import connected

group = typer.Typer(
    name="analytics", help="What was used, what it cost, what it saved.", no_args_is_help=True
)

_Project = Annotated[
    str | None,
    typer.Option(
        "--project", metavar="P", help="The project; default: the key's own, or all (admin)."
    ),
]
_From = Annotated[
    str | None,
    typer.Option("--from", metavar="DAY", help="The first day, in UTC; default: 30 days ago."),
]
_To = Annotated[str | None, typer.Option("--to", metavar="DAY", help="The last day.")]
_AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV for a spreadsheet.")]
_UsageBy = Annotated[
    str,
    typer.Option(
        "--by", help="day, model, provider, project, purpose, task_type; several by commas."
    ),
]
_SavingsBy = Annotated[
    str, typer.Option("--by", help="day, project, task_type, model, tier; several by commas.")
]

Rows = Sequence[Mapping[str, Any]]
_USED: Final = {
    "attempts": ">attempts", "answered": ">answered", "cost_nusd": ">cost",
    "unconfirmed_nusd": ">unconfirmed", "input_tokens": ">input", "cached_tokens": ">cached",
    "output_tokens": ">output",
}  # fmt: skip
_SAVED: Final = {
    "jobs": ">jobs", "climbed": ">climbed", "rescued": ">rescued", "cost_nusd": ">cost",
    "always_strongest_nusd": ">always strongest", "saved_nusd": ">saved",
    "repeated_saved_nusd": ">saved by repetition",
}  # fmt: skip
_ASKED: Final = {
    "id": "job", "project": "project", "custom_id": "custom_id", "status": "status",
    "model": "model", "task_type": "task type", "attempts": ">attempts", "cost_nusd": ">cost",
    "latency_ms": ">ms", "ended_at": "ended",
}  # fmt: skip


@group.command("usage")
def usage(
    by: _UsageBy = "day",
    first: _From = None,
    last: _To = None,
    project: _Project = None,
    as_json: AsJson = False,
    as_csv: _AsCsv = False,
) -> None:
    """What was used and what it cost, by day, model, provider, project, purpose or task type."""
    with connected() as mill:
        told = mill.usage(by, first=first, last=last, project=project)
    _print(told, as_json, as_csv, lambda rows: _groups(told, rows, _USED))


@group.command("models")
def models(
    first: _From = None,
    last: _To = None,
    project: _Project = None,
    as_json: AsJson = False,
    as_csv: _AsCsv = False,
) -> None:
    """Usage and costs by model and provider."""
    with connected() as mill:
        told = mill.usage("model,provider", first=first, last=last, project=project)
    _print(told, as_json, as_csv, lambda rows: _groups(told, rows, _USED))


@group.command("savings")
def savings(
    by: _SavingsBy = "day",
    first: _From = None,
    last: _To = None,
    project: _Project = None,
    as_json: AsJson = False,
    as_csv: _AsCsv = False,
) -> None:
    """What jobs cost, and what the strongest model alone would have cost."""
    with connected() as mill:
        told = mill.savings(by, first=first, last=last, project=project)
    _print(told, as_json, as_csv, lambda rows: _groups(told, rows, _SAVED))


@group.command("hints")
def hints(
    first: _From = None,
    last: _To = None,
    project: _Project = None,
    as_json: AsJson = False,
    as_csv: _AsCsv = False,
) -> None:
    """What could be paid less for, the largest sum first."""
    with connected() as mill:
        told = mill.hints(first=first, last=last, project=project)
    _print(told, as_json, as_csv, _tell_hints)


@group.command("requests")
def requests(
    *,
    status: Annotated[str | None, typer.Option(help="How they ended.")] = None,
    model: Annotated[str | None, typer.Option(help="Who answered.")] = None,
    provider: Annotated[str | None, typer.Option(help="Whose model it is.")] = None,
    tier: Annotated[str | None, typer.Option(help="cheap, mid or high.")] = None,
    task_type: Annotated[str | None, typer.Option(help="What they were taken for.")] = None,
    search: Annotated[
        str | None, typer.Option(help="What stands in the prompt or the custom_id.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Of this batch only.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most that are shown.")] = 50,
    project: _Project = None,
    as_json: AsJson = False,
    as_csv: _AsCsv = False,
) -> None:
    """Single requests that ended, newest first."""
    filters = {"status": status, "model": model, "provider": provider, "tier": tier}
    with connected() as mill:
        found = mill.requests(
            project, **filters, task_type=task_type, search=search, batch_id=batch
        )
        rows = list(islice(found, limit))
    _print({"object": "list", "data": rows}, as_json, as_csv, _tell_requests)


def _print(
    told: Mapping[str, Any], as_json: bool, as_csv: bool, show: Callable[[Rows], None]
) -> None:
    if as_json and as_csv:
        raise typer.BadParameter("--json or --csv, not both")
    rows = told["data"]
    if as_json:
        print_json(told)
    elif as_csv:
        from producer.reporting.spreadsheet import table

        sys.stdout.buffer.write(table(rows))
    elif rows:
        show(rows)
    else:
        say(_nothing(told))


def _nothing(told: Mapping[str, Any]) -> str:
    what = "no hint" if told["object"] == "hints" else "nothing"
    return f"{what} from {told['from']} to {told['to']}" if "from" in told else what


def _groups(told: Mapping[str, Any], rows: Rows, figures: Mapping[str, str]) -> None:
    """The groups with their sums, and a last line of all of them where there are several."""
    named = [name for name in rows[0] if name not in _not_names(rows[0])]
    cells = [[row[name] for name in named] + _figures(row, figures) for row in rows]
    if len(rows) > 1 and named:
        summed = {name: sum(row[name] for row in rows) for name in figures}
        cells.append(["in all", *[""] * (len(named) - 1), *_figures(summed, figures)])
    title = f"{told['object']} from {told['from']} to {told['to']}"
    print_table(title, (*named, *figures.values()), cells)


def _not_names(row: Mapping[str, Any]) -> set[str]:
    """The sums of a group: what is a number or, of money, its text."""
    return {n for n, value in row.items() if isinstance(value, int) or n.endswith("_usd")}


def _figures(row: Mapping[str, Any], figures: Mapping[str, str]) -> list[Any]:
    return [money(row[name]) if name.endswith("_nusd") else row[name] for name in figures]


def _tell_hints(rows: Rows) -> None:
    for row in rows:
        say(f"{row['project']}, {money(row['saves_nusd'])} less: {row['message']}")
    say(f"{counted(len(rows), 'hint')}; the sums are estimates for the jobs of these days")


def _tell_requests(rows: Rows) -> None:
    cells = [
        [
            shortened(value, 40) if name == "custom_id" and value else value
            for name, value in zip(_ASKED, _figures(row, _ASKED), strict=True)
        ]
        for row in rows
    ]
    print_table("requests, newest first", tuple(_ASKED.values()), cells)
