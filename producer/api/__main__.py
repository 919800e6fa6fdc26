"""`python -m producer.api --host H --port P`: serve the API until SIGINT or SIGTERM."""

import argparse
import signal
import sys

import uvicorn

from producer.api.app import create_app
from producer.api.connections import BoundedConnection
from producer.bootstrap import build
from shared import interpreter
from shared.errors import PromptmillError
from shared.settings import Settings
from shared.telemetry import configure_logging


def _ended(_signal: int, _frame: object) -> None:
    # uvicorn raises the signal once more when all is answered: an end that was asked for is none.
    sys.exit(0)


def serve(host: str, port: int) -> None:
    """Run the server; returns when it was told to end and its requests are answered."""
    settings = Settings()
    configure_logging(
        level=settings.log_level, as_json=settings.log_json, log_prompts=settings.log_prompts
    )
    app = create_app(build(settings), console_ahead=settings.console_ahead)
    interpreter.prepare(interpreter.IN_THE_API)
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedConnection,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, int(settings.grace_s)),
    )


def main() -> int:
    """Read the command line; 2 for settings or a catalog that cannot work."""
    parser = argparse.ArgumentParser(prog="promptmill api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _ended)
    try:
        serve(given.host, given.port)
    except PromptmillError as error:
        sys.stderr.write(f"promptmill: {error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
