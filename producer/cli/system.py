"""`up`, `demo`, `doctor`, `api`, `worker`, `migrate`, `reconcile`: running Promptmill itself.

`api` and `worker` replace this process by the one they start, so that signals and exit codes are
that program's own.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from producer.cli.arguments import AsJson
from producer.cli.printing import note, print_json, print_table, say

if TYPE_CHECKING:
    from shared.settings import Settings

_Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Where everything is kept.")
]
_ExitWithParent = Annotated[
    bool, typer.Option("--exit-with-parent", help="Stop when the program that started this ends.")
]
_Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="The API's port.")]


def up(
    home: _Home = None,
    port: _Port = 8000,
    flower_port: Annotated[
        int, typer.Option("--flower-port", min=0, max=65535, help="Flower's port.")
    ] = 5555,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Worker processes; default: by cores.")
    ] = None,
    simulator: Annotated[
        bool | None,
        typer.Option(
            "--simulator/--no-simulator",
            help="Made-up answers, free of charge; default: only where no provider has a key.",
        ),
    ] = None,
    exit_with_parent: _ExitWithParent = False,
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C."""
    from producer.local.mill import MillOptions
    from producer.local.up import up as keep_up

    options = MillOptions(port, flower_port, workers, simulator, exit_with_parent)
    raise typer.Exit(keep_up(_settings(home), options, _say_now))


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="A small real model on this machine answers.")
    ] = False,
    exit_with_parent: _ExitWithParent = False,
) -> None:
    """Run a sample file from its submission to its results on a Promptmill of its own."""
    from producer.cli.progress import progress
    from producer.local.demo import demo as run_demo
    from producer.local.mill import MillOptions

    env = {} if keep else {"PROMPTMILL_CONSOLE_AHEAD": "false"}  # nobody will look
    options = MillOptions(exit_with_parent=exit_with_parent, env=env)
    code = run_demo(_settings(), options, _say_now, progress, keep=keep, local=local)
    raise typer.Exit(code)


def doctor(as_json: AsJson = False) -> None:
    """Check this machine and its settings, with advice. Exit code 1 when something fails."""
    from producer.local.doctor import examine, is_healthy

    findings = examine(_settings())
    if as_json:
        print_json({"healthy": is_healthy(findings), "checks": [f.as_json() for f in findings]})
    else:
        rows = [(f.health.value, f.check, f.detail, f.advice) for f in findings]
        print_table("", ("", "check", "found", "what to do"), rows)
    if not is_healthy(findings):
        raise typer.Exit(1)


def api(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: _Port = 8000,
) -> None:
    """Run the HTTP API in the foreground."""
    _become("producer.api", "--host", host, "--port", str(port))


def worker(
    role: Annotated[
        Literal["batch", "interactive"], typer.Option("--role", help="Which queues it takes.")
    ] = "batch",
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="Chunks under way at once.")
    ] = None,
) -> None:
    """Run a worker in the foreground; any number may run, on any number of machines."""
    from shared.queue.lanes import BATCH_QUEUES, INTERACTIVE_QUEUE

    queues = ",".join(BATCH_QUEUES) if role == "batch" else INTERACTIVE_QUEUE
    threads = concurrency or _settings().worker_threads
    node = f"{role}-{os.getpid()}@%h"
    options = ("--concurrency", str(threads), "-Q", queues, "-n", node)
    _become("worker.celery_worker", *options)


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 when an upgrade is due.")
    ] = False,
) -> None:
    """Bring the database up to this version's tables."""
    import migrations

    url = _settings().resolved_database_url
    if check:
        if not migrations.at_head(url):
            note("promptmill: the database needs an upgrade: `promptmill migrate`")
            raise typer.Exit(1)
        say("the database is up to date")
        return
    migrations.upgrade(url)
    say("the database is up to date")


def reconcile(as_json: AsJson = False) -> None:
    """Compare the budget's counters with the database and mend what differs."""
    # A process of its own: the command line belongs to the clients' side, which knows no worker.
    options = ["--json"] if as_json else []
    command = [sys.executable, "-m", "worker.maintenance.ledger_reconciler", *options]
    code = subprocess.run(command, check=False).returncode  # noqa: S603  # our own program
    if code != 0:
        raise typer.Exit(1)


def _become(module: str, *arguments: str) -> None:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606


def _say_now(line: str) -> None:
    say(line)
    sys.stdout.flush()  # who reads a pipe wants the addresses while it runs


def _settings(home: Path | None = None) -> "Settings":
    from producer.client.address import read_settings

    return read_settings(home)
