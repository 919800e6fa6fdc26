"""The lines of one batch that have ended, a few at a time, and the files of all of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from producer.console.figures import NOTHING, cut, money_cell
from producer.console.layout import card, link, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge
from producer.reporting.result_lines import Format

SHOWN: Final = 10
_LONGEST: Final = 260
_LINES: Final = (
    Column("job", "Job"),
    Column("status", "Status"),
    Column("model", "Model"),
    Column("answer", "Answer"),
    Column("cost", "Cost", "number"),
)
_FORMS: Final = {Format.JSONL: "JSON lines", Format.CSV: "CSV", Format.OPENAI: "OpenAI's output"}


def show_lines(batch_id: str, lines: Sequence[Mapping[str, Any]], after: int) -> None:
    """A card with these lines, which follow the line `after`."""
    here = f"{ROOT}/batches/{quote(batch_id)}"
    with card("Lines that ended, in input order") as section:
        section.props("id=lines")
        with part("p", "pm-row pm-middle"):
            words("span", "Download all:", "pm-soft")
            for form, name in _FORMS.items():
                address = f"{ROOT}/download/batches/{quote(batch_id)}/{form}"
                link(name, address, "pm-button pm-small").props("download")
        Rows("Lines", _LINES, "None yet.").show([_line(line) for line in lines])
        with part("nav", "pm-row").props('aria-label="Pages"'):
            if after:
                link("From the first", f"{here}#lines", "pm-button pm-small")
            if len(lines) == SHOWN:
                following = f"{here}?after={lines[-1]['line']}#lines"
                link("Further lines", following, "pm-button pm-small")


def _line(line: Mapping[str, Any]) -> Row:
    error = line["error"] or {}
    text = line["text"] if line["error"] is None else f"{error['code']}: {error['message']}"
    return {
        "id": line["id"],
        "job": {
            "text": line["custom_id"] or line["id"],
            "href": f"{ROOT}/jobs/{line['id']}",
            "sub": f"line {line['line']}",
        },
        "status": badge(line["status"]),
        "model": {"text": line["model"] or NOTHING, "sub": line["tier"] or ""},
        "answer": cut(text, _LONGEST),
        "cost": money_cell(line["cost_nusd"]),
    }
