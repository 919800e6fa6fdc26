"""The console entry `promptmill`: the list of commands, and the one place that maps errors.

Exit code 0 only when what was asked for happened, 1 when it did not, 2 for bad usage. Errors go to
standard error in a line or two; the traceback only where PROMPTMILL_DEBUG is set. Libraries are
imported inside the commands: `promptmill --help` must answer at once.
"""

import os
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from producer.cli import (
    access,
    analytics,
    batches,
    budgets,
    caches,
    catalog,
    evaluation,
    following,
    outcomes,
    routing,
    system,
    templates,
    top,
    webhooks,
)
from producer.cli.printing import note
from shared.errors import PromptmillError

app = typer.Typer(
    name="promptmill",
    help="Runs files of prompts through language models: cheaply, within budget, unattended.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: dict[str, list[Callable[..., None]]] = {
    "Batches": [
        batches.submit,
        batches.status,
        following.watch,
        following.results,
        following.report,
        batches.cancel,
        batches.retry,
        batches.resume,
        following.ask,
        outcomes.feedback,
    ],
    "Looking ahead": [
        catalog.plan,
        catalog.route,
        evaluation.evaluate,
        catalog.models,
        catalog.providers,
    ],
    "Running Promptmill": [
        system.up,
        system.demo,
        top.top,
        system.doctor,
        system.api,
        system.worker,
        system.migrate,
        system.reconcile,
    ],
}

for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.add_typer(templates.group, rich_help_panel="Batches")
app.add_typer(outcomes.group, rich_help_panel="Looking ahead")
app.add_typer(routing.group, rich_help_panel="Looking ahead")
for _group in (
    budgets.group,
    analytics.group,
    caches.group,
    access.projects,
    access.keys,
    webhooks.group,
):
    app.add_typer(_group, rich_help_panel="Money, access, webhooks")


def _print_version(asked: bool) -> None:
    if asked:
        try:
            print(version("promptmill"))
        except PackageNotFoundError:
            print("run from its source, not installed")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Runs files of prompts through language models: cheaply, within budget, unattended."""


def run() -> None:
    """The console entry: run the command line and exit with its code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    try:
        code = app(args=arguments, prog_name="promptmill", standalone_mode=False)
    except BrokenPipeError:
        # Whoever read our output (`head`) has enough; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted")
        return 130
    except Exception as error:  # the last edge: nobody above could read it
        if os.environ.get("PROMPTMILL_DEBUG"):
            raise
        return _explained(error)
    return code if isinstance(code, int) else 0


def _explained(error: Exception) -> int:
    if isinstance(error, PromptmillError):
        request_id = getattr(error, "request_id", None)
        note(f"promptmill: {error.message}" + (f" (request {request_id})" if request_id else ""))
        return 1
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "promptmill"
        if message := error.format_message():
            note(f"{where}: {message}\nSee `{where} --help`.")
        return error.exit_code
    if isinstance(error, OSError):
        note(
            f"promptmill: {error.strerror or error}"
            + (f": {error.filename}" if error.filename else "")
        )
        return 1
    note(
        f"promptmill: unexpected {type(error).__name__}: {error}\n"
        "This is a fault of Promptmill; PROMPTMILL_DEBUG=1 shows where it happened."
    )
    return 1


if __name__ == "__main__":
    run()
