"""`python -m worker.celery_worker --queues NAMES [...]`: a worker process, and only what it needs.

`celery -A worker.app worker` runs the same one, but loads all commands of Celery and those of
Flower with what they stand on: 10 MB a process that never uses them. Another 10 MB are what
libraries load for themselves where it happens to be installed.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from shared.interpreter import as_if_not_installed

_OF_NO_USE = (
    "curses",  # Tornado's log
    "opentelemetry.sdk",  # figures of redis-py; `shared.tracing` loads it where traces are wanted
    "psutil",
    "pygments",
    "rich",  # structlog's tracebacks for people, HTTPX's command line
    "tornado",  # tenacity
    "yaml",  # a form of messages that we refuse
)


def main(given: Sequence[str] | None = None) -> int:
    """Run until it is told to stop; the exit code is Celery's, or `worker.app.REPLACE_ME`."""
    options = _parser().parse_args(given)
    load()
    from celery.utils.nodenames import default_nodename, host_format

    from worker.app import app

    worker = app.Worker(
        hostname=host_format(default_nodename(options.hostname)),
        concurrency=options.concurrency,
        queues=options.queues.split(","),
        without_mingle=True,
        without_gossip=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def load() -> None:
    """Import all that a worker runs on. Raises ConfigurationError for settings that cannot work."""
    with as_if_not_installed(*_OF_NO_USE):
        for module in ("worker.app", "celery.apps.worker", "celery.concurrency.thread"):
            import_module(module)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.celery_worker")
    parser.add_argument("-Q", "--queues", required=True, help="what it takes, with commas between")
    parser.add_argument("-n", "--hostname", default="", help="its name; %%h is the machine's")
    parser.add_argument("-c", "--concurrency", type=int, help="chunks under way at once")
    return parser


if __name__ == "__main__":
    sys.exit(main())
