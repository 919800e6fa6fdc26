"""`budget show` and `budget set`: how much a project may spend in a day, a month, in all."""

from typing import Annotated, Any

import typer

from producer.cli.arguments import AsJson, usd_or_none
from producer.cli.printing import money, print_json, print_table, say
from producer.cli.session import connected

group = typer.Typer(name="budget", help="How much a project may spend.", no_args_is_help=True)

_Project = Annotated[
    str | None, typer.Option("--project", metavar="P", help="The project; default: the key's own.")
]


def _limit(option: str, window: str) -> Any:
    return typer.Option(option, metavar="USD", help=f"Limit per {window}; none lifts it.")


@group.command("show")
def show(project: _Project = None, as_json: AsJson = False) -> None:
    """Limits, spent and reserved amounts of each window."""
    with connected() as mill:
        budget = mill.budget(project)
    _print(budget, as_json)


@group.command("set")
def change(
    project: _Project = None,
    day: Annotated[str | None, _limit("--day", "day (UTC)")] = None,
    month: Annotated[str | None, _limit("--month", "month (UTC)")] = None,
    total: Annotated[str | None, _limit("--total", "project, for ever")] = None,
    as_json: AsJson = False,
) -> None:
    """Set limits; windows that are not named stay as they are."""
    given = {"day": day, "month": month, "total": total}
    limits = {
        f"{window}_usd": usd_or_none(text, f"--{window}")
        for window, text in given.items()
        if text is not None
    }
    if not limits:
        raise typer.BadParameter("name at least one of --day, --month, --total")
    with connected() as mill:
        budget = mill.set_budget(project, **limits)
    _print(budget, as_json)


def _print(budget: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(budget)
        return
    print_table(
        f"project {budget['project']}",
        ("window", "period", ">limit", ">spent", ">reserved", ">remaining"),
        [
            (
                window["window"],
                window.get("period"),
                money(window["limit_nusd"]),
                money(window["spent_nusd"]),
                money(window["reserved_nusd"]),
                money(window["remaining_nusd"]),
            )
            for window in budget["windows"]
        ],
    )
    if not budget["windows"]:
        say(f"project {budget['project']} has no limits")
