"""Arguments that several commands share, and how their text is read."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from shared.domain.money import nusd_from_usd

BatchId = Annotated[
    str, typer.Argument(metavar="BATCH", help="The batch's id.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Project = Annotated[
    str | None, typer.Option("--project", metavar="P", help="The project to act in.")
]
MaxCost = Annotated[
    str | None, typer.Option("--max-cost", metavar="USD", help="The most the batch may cost.")
]
Optimise = Annotated[
    str | None,
    typer.Option(
        "--optimise",
        metavar="quality",
        help="Spread --max-cost over all jobs so that it buys the most good answers.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="OUT", help="The file to write results to.")
]
InputFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="JSON lines, or a table (.csv, .tsv, .parquet); - is standard input: JSON lines.",
        show_default=False,
    ),
]


def usd(text: str | None, option: str) -> str | None:
    """An amount in dollars as it was typed, checked; bad usage otherwise."""
    if text is None:
        return None
    try:
        nusd_from_usd(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    return str(Decimal(text))


def usd_or_none(text: str | None, option: str) -> str | None:
    """As `usd`; the word none, which lifts a limit, is None."""
    return None if text is None or text.lower() == "none" else usd(text, option)


def input_file(name: str) -> Path | BinaryIO:
    """The file of this name, or standard input; bad usage where it cannot be read."""
    if name == "-":
        return sys.stdin.buffer
    path = Path(name)
    if path.is_dir():
        raise typer.BadParameter(f"{name} is a folder, not a file", param_hint="FILE")
    try:
        path.open("rb").close()
    except OSError as error:
        raise typer.BadParameter(
            f"{name} cannot be read: {error.strerror}", param_hint="FILE"
        ) from None
    return path
