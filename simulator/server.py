"""Runs a handler as a small HTTP server until a signal: shared by both programs of this package."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

_LARGEST_BODY = 64 * 1024 * 1024

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def run(handler: Handler, name: str, host: str, port: int, ready_file: Path | None) -> None:
    """Listen, say `NAME listening on URL` on one line, and end at once on SIGTERM or SIGINT.

    The ready file, if any, appears complete or not at all. Raises OSError for a busy port.
    """
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    try:
        import uvloop  # optional: twice as many calls a second where it is installed

        loop_factory = uvloop.new_event_loop
    except ImportError:
        loop_factory = None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(handler, name, host, port, ready_file))
    sys.stdout.flush()


async def _serve(
    handler: Handler, name: str, host: str, port: int, ready_file: Path | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = web.Server(handler, request_factory=_request, access_log=None)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=4096)
    await site.start()
    url = f"http://{host}:{runner.addresses[0][1]}"
    print(f"{name} listening on {url}", flush=True)
    if ready_file is not None:
        _write_whole(ready_file, url)
    await stop.wait()
    # No farewell to open connections: a provider that dies does not say so either.


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    """A request that may be larger than aiohttp's one megabyte."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY
    )


def _write_whole(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(temporary).replace(path)
