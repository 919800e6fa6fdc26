"""How a batch gets on: a bar on a terminal, now and then a line elsewhere; on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from producer.cli.printing import money, note

if TYPE_CHECKING:
    from producer.client import Batch

LINE_EVERY_S = 3.0

Look = Callable[["Batch"], None]


def sentence(batch: "Batch") -> str:
    """Where a batch stands, in one line."""
    counts = batch.counts
    parts = [f"{batch.id} {batch.status}: {counts.ended}/{counts.total} done"]
    if batch.is_filling:
        parts = [f"{batch.id} reading, {counts.total} lines so far: {counts.ended} done"]
    if batch.retry_at_line is not None:
        parts.append(f"retried up to line {batch.retry_at_line}")
    shown = ("running", "failed", "held", "cancelled", "expired")
    parts += [f"{getattr(counts, name)} {name}" for name in shown if getattr(counts, name)]
    parts.append(money(batch.cost_nusd))
    return ", ".join(parts)


@contextmanager
def progress() -> "Iterator[Look]":
    """A function to be called with the batch at every look at it."""
    if sys.stderr.isatty():
        with _bar() as look:
            yield look
    else:
        with _lines() as look:
            yield look


@contextmanager
def _lines() -> "Iterator[Look]":
    printed_at, printed, last = 0.0, "", ""

    def look(batch: "Batch") -> None:
        nonlocal printed_at, printed, last
        last = sentence(batch)
        now = time.monotonic()
        if last != printed and (not printed or now - printed_at >= LINE_EVERY_S):
            note(last)
            printed_at, printed = now, last

    try:
        yield look
    finally:
        if last != printed:
            note(last)


@contextmanager
def _bar() -> "Iterator[Look]":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def look(batch: "Batch") -> None:
            # While lines come in the total says nothing about how much is left.
            total = None if batch.is_filling else batch.counts.total or None
            bar.update(task, total=total, completed=batch.counts.ended, description=sentence(batch))

        yield look
