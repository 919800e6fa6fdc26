"""Requests read off a connection at the least cost: what the benchmarks' providers stand on."""

import asyncio
from typing import Any


class Requests(asyncio.Protocol):
    """One connection. Calls `serve` for each request, which answers by `_transport`."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: Any = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's: somebody has connected."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Asyncio's: serve each request that is whole by now."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            mark = head.lower().find(b"content-length:")
            size = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
            if len(self._buffer) < end + 4 + size:
                return
            body = self._buffer[end + 4 : end + 4 + size]
            self._buffer = self._buffer[end + 4 + size :]
            self.serve(head.split(b" ", 2)[1], body)

    def serve(self, _path: bytes, _body: bytes) -> None:
        """Answer it, now or later."""
        raise NotImplementedError
