"""What the commands print: JSON and tables to standard output, everything else to standard error.

Text of others (answers, messages, names) is shown without markup and without control characters,
so that no answer of a model can move the cursor of a terminal.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from shared.domain.money import usd_from_nusd


def print_json(value: object) -> None:
    """One JSON document on standard output, readable, with a newline at its end."""
    import orjson  # start-up time: `--help` needs none of these

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """A line of an answer, on standard output."""
    print(plain(text, keep="\n\t"))


def note(text: str) -> None:
    """A line beside the answer, on standard error."""
    print(plain(text, keep="\n"), file=sys.stderr)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, stderr: bool = False
) -> None:
    """A table; columns whose name begins with ">" stand to the right. Nothing when it is empty."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(plain(_cell(value))) for value in row] for row in rows]
    if not cells:
        return
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for name in columns:
        right = name.startswith(">")
        table.add_column(name.removeprefix(">"), justify="right" if right else "left")
    for row in cells:
        table.add_row(*row)
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = 1000  # a pipe has no width; rows are never broken there
    console.print(table)


def money(nusd: int | None) -> str:
    """An amount for people, exact; "-" where there is none."""
    return "-" if nusd is None else f"${usd_from_nusd(nusd).removesuffix('.0')}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 line", "2 lines"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(unix_s: int | None) -> str:
    """A time for people, in UTC; "-" where there is none."""
    if unix_s is None:
        return "-"
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M:%S}Z"


def plain(text: str, keep: str = "") -> str:
    """The text without control characters, but for those to keep."""
    return "".join(c if c.isprintable() or c in keep else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(text: str, length: int = 60) -> str:
    """The beginning of a text, on one line."""
    one_line = " ".join(text.split())
    return (
        one_line if len(one_line) <= length else one_line[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
