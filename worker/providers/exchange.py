"""One exchange over a connection of aiohttp's: a request written at once, its answer read.

aiohttp keeps the connections: names, TLS, proxies, idle ones, and the parser of what comes back.
Its session is left out. For each request that made some forty objects, a task and three timers, two
thirds of what a call cost (docs/performance.md); here calls alike share all but length and body.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from yarl import URL

from shared.fault_points import FaultPoint, reach
from worker.providers.errors import MaybeBilled, NotSent, ProviderError, name_of

Answer = tuple[int, Mapping[str, str], bytes]
_SWITCHING = 101


@dataclass(frozen=True, slots=True)
class Line:
    """Where calls alike go. request: what a connector needs to know; it is never sent itself.
    head: all that comes before the length of the body.
    """

    request: aiohttp.ClientRequest
    head: bytes


def line_to(
    url: URL, headers: Mapping[str, str], proxy: URL | None, proxy_headers: Mapping[str, str]
) -> Line:
    """The line to an address, by a proxy or not. headers: checked, nothing can be smuggled in by
    them; proxy_headers: what the proxy alone is told.

    Raises aiohttp.InvalidURL or NonHttpUrlClientError for what is no address of HTTP.
    """
    if url.scheme not in ("http", "https"):
        raise aiohttp.NonHttpUrlClientError(url)
    request = aiohttp.ClientRequest(
        hdrs.METH_POST,
        url,
        headers=headers,
        loop=asyncio.get_running_loop(),
        proxy=proxy,
        proxy_headers=proxy_headers if proxy is not None else None,
    )
    told = request.headers.copy()
    told.pop(hdrs.CONTENT_LENGTH, None)
    target = url.raw_path_qs
    if proxy is not None and not request.is_ssl():  # it is the proxy that reads this head
        target = str(request.url)
        told.update(proxy_headers)
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    return Line(request, "\r\n".join([*lines, "Content-Length: "]).encode("ascii"))


async def connected(
    connector: aiohttp.BaseConnector, line: Line, patience: aiohttp.ClientTimeout
) -> Connection:
    """A connection of the line. Whatever goes wrong until then is NotSent."""
    try:
        return await connector.connect(line.request, [], patience)
    except TimeoutError as error:
        raise NotSent("connect_timeout", name_of(error)) from None
    except Exception as error:  # noqa: BLE001 - refused, unreachable, DNS, TLS, proxy
        raise NotSent("connect_failed", name_of(error)) from None


async def exchange(
    connection: Connection,
    line: Line,
    body: bytes,
    take: Callable[[bytes], None] | None,
    *,
    timeout_s: float,
    max_bytes: int,
) -> Answer:
    """The answer's status, its headers and its body; `take` as in `HttpSender.send`.

    The connection is given back, or closed where it did not end as it should. From the first byte
    on a failure is MaybeBilled; `timeout_s` runs from there to the last byte of the answer.
    """
    loop = asyncio.get_running_loop()
    transport = connection.transport
    if transport is None:
        connection.close()
        raise NotSent("connect_failed", "the connection was lost before it was used")
    cut = loop.call_later(timeout_s, transport.abort)
    try:
        answer = await _answer(connection, transport, line.head, body, take, max_bytes)
    except BaseException as error:
        connection.close()
        if isinstance(error, ProviderError) or not isinstance(error, Exception):
            raise
        if cut.when() <= loop.time():
            raise MaybeBilled("timeout", "no complete answer in time") from None
        raise MaybeBilled("connection_lost", name_of(error)) from None
    finally:
        cut.cancel()
    if transport.get_write_buffer_size():  # answered before it was asked to the end
        connection.close()
    else:
        connection.release()
    return answer


async def _answer(
    connection: Connection,
    transport: asyncio.Transport,
    head: bytes,
    body: bytes,
    take: Callable[[bytes], None] | None,
    max_bytes: int,
) -> Answer:
    protocol = connection.protocol
    if protocol is None:
        raise NotSent("connect_failed", "the connection was lost before it was used")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    transport.writelines((b"%b%d\r\n\r\n" % (head, len(body)), body))
    message, payload = await protocol.read()
    while 100 <= message.code < 200 and message.code != _SWITCHING:  # noqa: PLR2004 - a promise
        message, payload = await protocol.read()
    reach(FaultPoint.AFTER_REQUEST)
    parts: list[bytes] = []
    if take is None or not _streams(message.code, message.headers):
        take = parts.append
    size = 0
    while not payload.at_eof():
        part = await payload.readany()
        size += len(part)
        if size > max_bytes:
            raise MaybeBilled("answer_too_large", f"more than {max_bytes} B")
        take(part)
    return message.code, message.headers, b"".join(parts)


def _streams(status: int, headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").strip().lower()
    return 200 <= status < 300 and kind.startswith("text/event-stream")  # noqa: PLR2004
