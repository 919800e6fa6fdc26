"""What `make run` shows at its end: a line per prompt, then the sums."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from producer.client import Batch
from shared.domain.money import usd_from_nusd

_WIDTH_WITHOUT_TERMINAL = 150
_ANSWER_WIDTH = 44

Line = Mapping[str, Any]


def show(
    output: TextIO,
    lines: Sequence[Line],
    report: Mapping[str, Any],
    batch: Batch,
    seconds: float,
    *,
    cap_usd: str,
) -> None:
    """Print the results, routes, costs and what routing saved."""
    width = None if output.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=output, width=width, highlight=False)
    console.print(_table(lines))
    for sentence in _sums(lines, report, batch, seconds, cap_usd):
        console.print(Text(sentence))


def short(text: object, width: int = _ANSWER_WIDTH) -> str:
    """An answer in one line, without what could move a terminal's cursor."""
    flat = " ".join(str(text or "").split())
    printable = "".join(sign for sign in flat if sign.isprintable())
    return printable if len(printable) <= width else printable[: width - 1] + "…"


def _table(lines: Sequence[Line]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("prompt", no_wrap=True)
    table.add_column("answer", no_wrap=True, max_width=_ANSWER_WIDTH)
    table.add_column("kind", no_wrap=True)
    table.add_column("model", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    table.add_column("tries", justify="right")
    table.add_column("climbed", justify="center")
    table.add_column("cost $", justify="right", no_wrap=True)
    for line in lines:
        cells = (
            short(line["custom_id"], 20),
            _answer(line),
            f"{short(line['task_type'], 18)} {_difficulty(line)}",
            short(line["model"], 20),
            short(line["tier"], 6),
            str(line["attempts"]),
            "yes" if line["escalated"] else "",
            usd_from_nusd(int(line["cost_nusd"])),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _answer(line: Line) -> str:
    if line["status"] == "completed":
        return short(line["text"])
    error = line["error"] or {}
    return short(f"{line['status']}: {error.get('code')}: {error.get('message')}")


def _difficulty(line: Line) -> str:
    return "" if line["difficulty"] is None else f"{float(line['difficulty']):.2f}"


def _sums(
    lines: Sequence[Line],
    report: Mapping[str, Any],
    batch: Batch,
    seconds: float,
    cap_usd: str,
) -> list[str]:
    answered = sum(line["status"] == "completed" for line in lines)
    tiers = Counter(line["tier"] for line in lines if line["tier"])
    climbs = report["escalations"]
    cost, strongest = batch.cost_nusd, int(report["always_strongest_nusd"] or 0)
    climbed = (
        f"Climbs to a stronger model: {climbs['climbs']}, {climbs['rescued']} of them brought the "
        f"answer, for ${usd_from_nusd(int(climbs['cost_nusd']))}"
    )
    sentences = [
        f"{answered} of {len(lines)} prompts answered in {seconds:.1f} s with "
        f"{sum(int(line['attempts']) for line in lines)} calls; "
        + ", ".join(f"{count} by {tier}" for tier, count in tiers.most_common()),
        climbed,
        f"Cost: ${usd_from_nusd(cost)} of the ${cap_usd} allowed",
    ]
    if strongest > 0:
        saved = 100 * (strongest - cost) / strongest
        sentences.append(
            f"The strongest model alone would have cost ${usd_from_nusd(strongest)}: "
            f"{saved:.0f} % saved"
        )
    if unconfirmed := int(report["unconfirmed_nusd"]):
        sentences.append(
            f"Charged without a confirmation (calls cut off): ${usd_from_nusd(unconfirmed)}"
        )
    return sentences
