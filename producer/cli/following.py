"""`watch`, `results`, `report`, `ask`: following a batch to its end and reading what came out."""

import contextlib
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from producer.cli import batch_tables as tables
from producer.cli.arguments import AsJson, BatchId, MaxCost, Output, Project, usd
from producer.cli.printing import money, note, plain, print_json, print_table, say, shortened
from producer.cli.progress import progress
from producer.cli.session import connected

if TYPE_CHECKING:
    from producer.client import Answer, AskOptions, Batch, Promptmill

Source = Path | BinaryIO

ANSWERS_SHOWN = 20


def watch(batch: BatchId, project: Project = None, as_json: AsJson = False) -> None:
    """Follow a batch to its end. Exit code 1 when it did not complete."""
    with connected(project) as mill:
        ended = follow(mill, batch, through_holds=True)
    print_json(tables.as_object(ended)) if as_json else tables.show_batch(ended)
    if ended.status != "completed":
        raise typer.Exit(1)


def results(
    batch: BatchId,
    output: Output = None,
    kind: Annotated[
        Literal["jsonl", "csv", "openai"], typer.Option("--format", help="The form of the lines.")
    ] = "jsonl",
    project: Project = None,
) -> None:
    """Write the results that are there, in the order of the input."""
    with connected(project) as mill:
        if output is None:
            mill.write_results(batch, sys.stdout.buffer, kind)
            sys.stdout.buffer.flush()
        else:
            save_results(mill, batch, output, kind)
        found = mill.batch(batch)
    if not found.is_over:
        left = found.counts.total - found.counts.ended
        note(
            f"{batch} is still {found.status}: {left} of {found.counts.total} jobs are not here yet"
        )


def report(batch: BatchId, project: Project = None, as_json: AsJson = False) -> None:
    """What a batch cost, by model and task type, and what climbing brought."""
    with connected(project) as mill:
        found = mill.report(batch)
    print_json(found) if as_json else tables.show_report(found)


def ask(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", show_default=False)],
    model: Annotated[
        str | None, typer.Option("--model", help="auto, cheapest, best, a tier, or a model's name.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="The longest answer.")
    ] = None,
    max_cost: MaxCost = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Ask one prompt and print the answer; as it comes, where a tier or a model is named."""
    options: AskOptions = {}
    if model is not None:
        options["model"] = model
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    if (cap := usd(max_cost, "--max-cost")) is not None:
        options["max_cost_usd"] = cap
    with connected(project) as mill:
        answer = _streamed(mill, prompt, options) if _streams(model, as_json) else None
        answer = answer or mill.route_and_execute(prompt, **options)
        if as_json:
            print_json(mill.job(answer.job_id))
    if not as_json:
        if not _streams(model, as_json):
            say(answer.text)
        note(f"{answer.model}, {money(answer.cost_nusd)}")


def _streams(model: str | None, as_json: bool) -> bool:
    """Whether the answer is told as it comes. Only where a tier or a model is named: otherwise a
    weak answer is replaced by a stronger model's, which one that was told already cannot be.
    """
    return not as_json and model not in (None, "auto", "cheapest", "best")


def _streamed(mill: "Promptmill", prompt: str, options: "AskOptions") -> "Answer | None":
    """Tell the answer piece by piece; the whole of it."""
    whole = None
    ends_line = False
    for piece in mill.stream(prompt, **options):
        if isinstance(piece, str):
            print(plain(piece, keep="\n\t"), end="", flush=True)
            ends_line = piece.endswith("\n")
        else:
            whole = piece
    if not ends_line:
        print()
    return whole


def follow(mill: "Promptmill", batch_id: str, *, through_holds: bool = False) -> "Batch":
    """Wait for a batch with its progress shown; says once what to do while everything is held."""
    told = False
    with progress() as look:

        def seen(batch: "Batch") -> None:
            nonlocal told
            look(batch)
            if batch.is_stuck and not told and through_holds:
                told = True
                note(tables.what_holds(batch))

        return mill.wait(batch_id, seen, through_holds=through_holds)


def until_retried(mill: "Promptmill", batch: "Batch") -> "Batch":
    """Wait until all failed jobs of a batch are back in its queue, with the progress shown."""
    with progress() as look:
        for batch in mill.progress(batch.id, through_holds=True):  # noqa: B020, PLR1704
            look(batch)
            if batch.retry_at_line is None:
                break
    return batch


def save_results(mill: "Promptmill", batch_id: str, target: Path, kind: str) -> None:
    """Write results to a file; a regular file is whole or untouched."""
    if target.exists() and not target.is_file():  # a pipe or a device
        with target.open("wb") as file:
            mill.write_results(batch_id, file, kind)
        return
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as file:
            mill.write_results(batch_id, file, kind)
        part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    note(f"results written to {target}")


def show_answers(mill: "Promptmill", batch: "Batch") -> None:
    """The first answers as a table, with their routes and costs."""
    lines = list(islice(mill.results(batch.id, page=ANSWERS_SHOWN), ANSWERS_SHOWN))
    print_table(
        "",
        ("prompt", "status", "answer", "task type", "tier", "model", ">attempts", ">cost"),
        [
            (
                line["custom_id"] or f"line {line['line']}",
                line["status"],
                shortened(line["text"] or (line.get("error") or {}).get("message") or ""),
                line["task_type"],
                line["tier"],
                line["model"],
                line["attempts"],
                money(line["cost_nusd"]),
            )
            for line in lines
        ],
    )
    if batch.counts.ended > len(lines):
        say(f"{batch.counts.ended - len(lines)} more: `promptmill results {batch.id}`")


def exit_unless_answered(batch: "Batch") -> None:
    """End with exit code 1 where the batch did not complete, or completed without one answer."""
    if batch.status != "completed":
        reason = tables.what_holds(batch) if batch.is_stuck else f"{batch.id} is {batch.status}"
        note(f"promptmill: not done: {reason}")
        raise typer.Exit(1)
    if not batch.counts.completed:
        note(f"promptmill: no prompt was answered: `promptmill results {batch.id}` says why")
        raise typer.Exit(1)
