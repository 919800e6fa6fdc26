"""A connection to the API, bounded in what it may send and how long it may take before its request
has begun.

uvicorn waits for ever for the end of a request's head and keeps whatever comes until then, so a
client that sends a byte a minute, or headers without end, would cost a socket or the memory. Bodies
are bounded by `frame`.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's own protocol with the two bounds; a connection that breaks one is closed."""

    head_within_s: ClassVar[float] = 20.0
    """From the connection, or a later request's first byte, to the end of the head."""

    largest_head: ClassVar[int] = 64 * 1024

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Bytes of a head or a body."""
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        if self._deadline is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._deadline is not None and self._head_bytes > self.largest_head:
            self.transport.write(_TOO_LARGE)
            self._close()

    def on_headers_complete(self) -> None:
        """The request begins."""
        self._head_is_over()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._head_is_over()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._deadline = self.loop.call_later(self.head_within_s, self._close)

    def _head_is_over(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._head_is_over()
        self.transport.close()
