"""Tables as input lines: each row of a CSV, TSV, JSONL or Parquet file becomes one line, streamed.

With a template every column is a variable of it, and `custom_id` names the line besides. Without
one the columns are fields of a native line (`prompt`, `model`, ...) and an empty cell is a field
left out. Row n of the table, not counting its header, is line n of the batch: what is wrong with
one row is told by the server under that number. What is wrong with the table (a header, a row of
another length, an encoding) raises TableError before anything is sent: nothing after it can be
trusted.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from producer.intake.json_line import parse_line
from producer.intake.lines import NATIVE_FIELDS
from producer.intake.physical import physical_lines
from producer.intake.refusal import Refusal
from producer.intake.templates import Template
from shared.errors import UsageError

_LONGEST: Final = 64 * 1024 * 1024
_RENDERED_HERE: Final = 4 * 1024 * 1024
_ROWS_AT_ONCE: Final = 1024
_TEXTS: Final = frozenset(("prompt", "custom_id", "model", "user", "reasoning_effort", "template"))
_DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
_OPENAI: Final = frozenset(("body", "url", "method"))
PARQUET: Final = ".parquet"
SUFFIXES: Final = (*_DELIMITERS, PARQUET)
"""Files that are tables by their names; every other file holds JSON lines."""


class TableError(UsageError):
    """The table as a whole cannot be read; the message names the row."""

    code = "invalid_table"


def table_lines(
    source: str | Path | BinaryIO,
    template: str | Template | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Iterator[bytes]:
    """The rows as JSON lines, ready to be submitted or planned.

    source: a file, read by its suffix, or an open binary file of JSON lines. template: the name of
    one that the server keeps, or a template itself. defaults: fields (`model`, `max_tokens`, ...)
    of every line that does not say them itself; they go before what the template says.
    """
    given = dict(defaults or {})
    if not isinstance(source, str | Path):
        yield from _json_lines(source, template, given)
        return
    path = Path(source)
    kind = path.suffix.lower()
    if kind in _DELIMITERS:
        for row in _separated(path, _DELIMITERS[kind], typed=template is None):
            yield _line(row, template, given)
    elif kind == PARQUET:
        for row in _parquet(path, are_fields=template is None):
            yield _line(row, template, given)
    else:
        with path.open("rb") as file:
            yield from _json_lines(file, template, given)


def _line(
    row: Mapping[str, Any], template: str | Template | None, defaults: Mapping[str, Any]
) -> bytes:
    """One row as a line with its end."""
    if template is None:
        fields = {name: value for name, value in row.items() if value is not None}
        added = {} if _OPENAI & fields.keys() else defaults
        return orjson.dumps({**added, **fields}, option=orjson.OPT_APPEND_NEWLINE)
    own = dict(defaults)
    name = row.get("custom_id")
    if name not in (None, ""):
        own["custom_id"] = str(name) if isinstance(name, int) else name
    if isinstance(template, Template):
        try:
            made = template.line(row, _RENDERED_HERE)
        except Refusal:
            # The server says why, under the row's number, beside all other bad rows.
            made = {"template": template.fields, "vars": row}
    else:
        made = {"template": template, "vars": row}
    return orjson.dumps({**made, **own}, option=orjson.OPT_APPEND_NEWLINE)


def _json_lines(
    source: BinaryIO, template: str | Template | None, defaults: Mapping[str, Any]
) -> Iterator[bytes]:
    """Objects, one a line. Blank lines stay, so that numbers are those of the file; a line that is
    no such object goes as it is, for the server to refuse it.
    """
    sent = 0
    for number, content in physical_lines(source, _LONGEST):
        if content is None:
            raise TableError(f"row {number} is longer than {_LONGEST} bytes")
        yield from (b"\n" for _ in range(number - sent - 1))
        sent = number
        try:
            row = parse_line(content)
        except Refusal:
            yield content + b"\n"
        else:
            yield _line(row, template, defaults)


def _separated(path: Path, delimiter: str, *, typed: bool) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    number = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = _checked_header([name.strip() for name in next(rows, [])], are_fields=typed)
            for cells in rows:
                if not cells:
                    continue
                number += 1
                if len(cells) != len(header):
                    raise TableError(
                        f"row {number} (line {rows.line_num}) has {len(cells)} cells, "
                        f"the header has {len(header)}"
                    )
                row = dict(zip(header, cells, strict=True))
                yield _typed(row) if typed else row
        except csv.Error as error:
            raise TableError(f"row {number + 1} (line {rows.line_num}): {error}") from None
        except UnicodeDecodeError:
            raise TableError(f"row {number + 1} or one soon after it is not UTF-8") from None


def _checked_header(header: Sequence[str], *, are_fields: bool) -> Sequence[str]:
    if not any(header):
        raise TableError("the table has no header: its first row names the columns")
    for name in header:
        if header.count(name) > 1:
            raise TableError(f"the header has the column {name[:64]!r} twice")
        if are_fields and name not in NATIVE_FIELDS:
            raise TableError(
                f"the column {name[:64]!r} is no field of a line: give --template, whose variables "
                "the columns then are, or take it out"
            )
    return header


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    """Cells as the fields they stand for: texts as they are, all others read as JSON."""
    typed: dict[str, Any] = {}
    for name, cell in row.items():
        if cell == "":
            continue
        typed[name] = cell
        if name not in _TEXTS:
            try:
                typed[name] = orjson.loads(cell)
            except orjson.JSONDecodeError:
                continue  # the server says what the field should be
    return typed


def _parquet(path: Path, *, are_fields: bool) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise TableError(
            "reading Parquet needs pyarrow: pip install 'promptmill[parquet]'",
            code="missing_extra",
        ) from None
    number = 0
    try:
        with ParquetFile(path) as file:
            _checked_header(file.schema_arrow.names, are_fields=are_fields)
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in _plain_rows(batch.to_pylist(), number):
                    number += 1
                    yield row
    except (ArrowException, ValueError) as error:
        raise TableError(f"the file cannot be read after row {number}: {error}") from None


def _plain_rows(rows: Iterable[Mapping[str, Any]], before: int) -> Iterator[dict[str, Any]]:
    """Rows of JSON's own types: dates as ISO text, decimals as text, NaN as no value."""
    for number, row in enumerate(rows, before + 1):
        try:
            plain: dict[str, Any] = orjson.loads(orjson.dumps(row, default=_plain))
        except (TypeError, orjson.JSONEncodeError) as error:
            raise TableError(f"row {number} holds what JSON has no words for: {error}") from None
        yield plain


def _plain(value: object) -> str:
    if isinstance(value, Decimal | timedelta):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__}")
