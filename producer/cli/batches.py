"""`submit`, `status`, `cancel`, `retry`, `resume`: what changes a batch, and where it stands."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from producer.cli import batch_tables as tables
from producer.cli import following
from producer.cli.arguments import (
    AsJson,
    BatchId,
    InputFile,
    MaxCost,
    Optimise,
    Output,
    Project,
    usd,
)
from producer.cli.printing import counted, note, print_json, say
from producer.cli.sent_again import remembered_key
from producer.cli.session import connected
from producer.cli.tables import MaxTokensDefault, ModelDefault, TemplateOption, input_lines

if TYPE_CHECKING:
    from producer.client import Batch, Promptmill, SubmitOptions


def submit(  # noqa: PLR0917  # options of the command line
    file: InputFile,
    project: Project = None,
    max_cost: MaxCost = None,
    optimise: Optimise = None,
    pilot: Annotated[
        bool | None,
        typer.Option(
            "--pilot/--no-pilot",
            help="Ask a part of every tier first, to choose the cheapest that does.",
            show_default=False,
        ),
    ] = None,
    max_quality_loss: Annotated[
        float | None,
        typer.Option(
            "--max-quality-loss",
            metavar="SHARE",
            help="What routing may lose against the strongest tier, such as 0.02: by a pilot.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse the whole file for one bad line.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the batch is over.")] = False,
    output: Output = None,
    webhook: Annotated[
        str | None,
        typer.Option("--webhook", metavar="URL", help="Where to announce the end, signed."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="K", help="Same key, same file: the same batch."),
    ] = None,
    template: TemplateOption = None,
    model: ModelDefault = None,
    max_tokens: MaxTokensDefault = None,
    deduplicate: Annotated[
        bool | None,
        typer.Option(
            "--deduplicate/--no-deduplicate",
            help="Ask once what several lines ask. By default all but sampled lines.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        Literal["early", "complete"] | None,
        typer.Option(
            "--start",
            help="Run the first lines of a long file while the last ones are sent, or wait for "
            "them. By default early where that is possible.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a file of prompts: JSON lines, or a .csv, .tsv or .parquet table.

    -o waits and writes the results. A command that died before it was answered goes on with its
    batch when it is run again.
    """
    given = {
        "max_cost_usd": usd(max_cost, "--max-cost"),
        "deduplicate": deduplicate,
        "start": start,
        "optimise": optimise,
        "pilot": pilot,
        "max_quality_loss": max_quality_loss,
        "webhook_url": webhook,
        "idempotency_key": idempotency_key,
    }
    said = {name: value for name, value in given.items() if value is not None}
    options = cast("SubmitOptions", {"strict": strict, **said})
    source = input_lines(file, template, model, max_tokens)
    with connected(project) as mill:
        told = (mill.address, project, template, model, max_tokens, sorted(options.items()))
        with _refused(as_json), _key(file, options, told):
            submitted = mill.submit(source, **options)
        if not as_json:
            _show_submitted(submitted)
        batch = submitted
        if (wait or output) and not submitted.is_over:
            batch = following.follow(mill, submitted.id)
        if as_json:
            added = {"rejected": submitted.rejected, "rejected_count": submitted.rejected_count}
            print_json({**tables.as_object(batch), **added, "webhook": submitted.webhook})
        if wait or output:
            _finish(mill, batch, output, as_json)
        elif batch.status == "failed":
            raise typer.Exit(1)


@contextmanager
def _key(file: str, options: "SubmitOptions", told: Sequence[object]) -> Iterator[None]:
    """Give a submission without a key one that the same command finds again; standard input cannot
    be read again.
    """
    if "idempotency_key" in options or file == "-":
        yield
        return
    from producer.client.address import read_settings

    with remembered_key(read_settings().home_dir / "sending", Path(file), told) as key:
        options["idempotency_key"] = key
        yield


@contextmanager
def _refused(as_json: bool) -> Iterator[None]:
    """Show the bad lines of a file that was refused for them, and end with exit code 1."""
    from producer.client import ApiError

    try:
        yield
    except ApiError as error:
        if not error.rejected:
            raise
        if as_json:
            refusal = {"code": error.code, "message": error.message}
            print_json({"error": refusal, "rejected": error.rejected})
        else:
            tables.show_rejected(error.rejected, len(error.rejected))
        note(f"promptmill: nothing was submitted: {error.message}")
        raise typer.Exit(1) from None


def _show_submitted(batch: "Batch") -> None:
    say(f"{batch.id}  {batch.status}")
    say(f"{counted(batch.counts.total, 'line')}, {batch.rejected_count} of them bad")
    if batch.rejected:
        tables.show_rejected(batch.rejected, batch.rejected_count, batch.id)
    secret = (batch.webhook or {}).get("signing_secret")
    if secret:
        say(f"webhook signing secret (shown this once): {secret}")


def _finish(mill: "Promptmill", batch: "Batch", output: Path | None, as_json: bool) -> None:
    if output is not None:
        following.save_results(mill, batch.id, output, "jsonl")
    if not as_json:
        tables.show_batch(batch)
        following.show_answers(mill, batch)
    following.exit_unless_answered(batch)


def status(
    batch: Annotated[
        str | None,
        typer.Argument(
            metavar="[BATCH]", help="The batch's id; without it, all.", show_default=False
        ),
    ] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Where a batch stands; without an id, the list of batches."""
    with connected(project) as mill:
        if batch is not None:
            found = mill.batch(batch)
            print_json(tables.as_object(found)) if as_json else tables.show_batch(found)
            return
        listed = list(mill.batches())
    if as_json:
        print_json([tables.as_object(each) for each in listed])
    elif listed:
        tables.show_batches(listed)
    else:
        note("no batches yet: `promptmill submit FILE` makes one")


def cancel(batch: BatchId, project: Project = None, as_json: AsJson = False) -> None:
    """Stop a batch: calls in flight are finished and charged, nothing new starts."""
    with connected(project) as mill:
        _show_changed(mill.cancel(batch), as_json)


def retry(batch: BatchId, project: Project = None, as_json: AsJson = False) -> None:
    """Run the failed jobs of a batch again; ends when all of them are back in the queue."""
    with connected(project) as mill:
        changed = mill.retry(batch)
        if changed.retry_at_line is not None:
            changed = following.until_retried(mill, changed)
        _show_changed(changed, as_json)


def resume(
    batch: BatchId, max_cost: MaxCost = None, project: Project = None, as_json: AsJson = False
) -> None:
    """Let the held jobs of a batch go on, under a higher cap where one is given."""
    cap = usd(max_cost, "--max-cost")
    with connected(project) as mill:
        _show_changed(mill.resume(batch, cap), as_json)


def _show_changed(batch: "Batch", as_json: bool) -> None:
    if as_json:
        print_json(tables.as_object(batch))
    else:
        tables.show_batch(batch)
