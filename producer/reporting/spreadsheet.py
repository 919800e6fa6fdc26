"""Rows for a spreadsheet: CSV that no spreadsheet runs as a formula. Pure."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

# What a spreadsheet would run as a formula is shown as text, by the apostrophe they all know.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def harmless(cell: Any) -> Any:
    """The value as a cell shows it; never the beginning of a formula."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return f"'{cell}"
    return cell


def csv_block(rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows of cells as CSV lines in UTF-8."""
    block = io.StringIO(newline="")
    csv.writer(block).writerows(rows)
    return block.getvalue().encode()


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows with the same fields as CSV, their names first; nothing where there is no row."""
    if not rows:
        return b""
    return csv_block([list(rows[0]), *([harmless(v) for v in row.values()] for row in rows)])
