"""`cache show` and `cache set`: whether a project keeps answers for who asks the same again."""

import re
from typing import Annotated, Any

import typer

from producer.cli.arguments import AsJson
from producer.cli.printing import print_json, say
from producer.cli.session import connected

group = typer.Typer(
    name="cache", help="Answers kept for who asks the same again.", no_args_is_help=True
)

_Project = Annotated[
    str | None, typer.Option("--project", metavar="P", help="The project; default: the key's own.")
]
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@group.command("show")
def show(project: _Project = None, as_json: AsJson = False) -> None:
    """For how long the project keeps answers, if it does."""
    with connected() as mill:
        _print(mill.cache(project), as_json)


@group.command("set")
def change(
    keep: Annotated[
        str,
        typer.Argument(
            metavar="TIME|none", help="Such as 24h or 7d; none keeps none.", show_default=False
        ),
    ],
    project: _Project = None,
    as_json: AsJson = False,
) -> None:
    """Keep answers for so long from now on, beginning with an empty cache."""
    with connected() as mill:
        _print(mill.set_cache(project, keep_s=_seconds(keep)), as_json)


def _seconds(text: str) -> int | None:
    if text.lower() == "none":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text, re.ASCII)
    if match is None:
        raise typer.BadParameter("a number with s, m, h or d, such as 24h, or none")
    return int(match[1]) * _SECONDS[match[2]]


def _print(cache: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(cache)
    elif cache["keep_s"] is None:
        say(f"project {cache['project']} keeps no answers")
    else:
        say(f"project {cache['project']} keeps answers for {cache['keep_s']} s")
