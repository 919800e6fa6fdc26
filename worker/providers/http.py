"""The one edge to the network: sends a call and says, when that fails, whether it had left.

Addresses and headers are made and checked once for all calls that share them. What fails while a
connection is made proves that nothing was sent; everything after that, a broken keep-alive
connection included, may have been billed, and is never sent a second time.

Answers are asked for unpacked: they are small, and unpacking costs more than it saves.
"""

import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

from shared.catalog.spec import ProviderSpec
from worker.providers.base import EncodedCall
from worker.providers.errors import NotSent, name_of
from worker.providers.exchange import Answer, Line, connected, exchange, line_to

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
# Shorter than the idle timeouts of servers and load balancers (mostly 60 s and more): reusing a
# connection in the moment the server closes it cannot be told from a lost answer.
KEEP_ALIVE_S: Final = 15.0

_USER_AGENT: Final = "promptmill"
_MOST_LINES: Final = 256

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Road:
    """How a host is reached: connections, and the proxy where there is one."""

    connector: aiohttp.TCPConnector
    proxy: URL | None = None
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class HttpSender:
    """Connections to all providers, kept alive. Lives in one event loop."""

    def __init__(
        self,
        *,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        keep_alive_s: float = KEEP_ALIVE_S,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._keep_alive_s = keep_alive_s
        self._proxies = urllib.request.getproxies() if proxies is None else proxies
        self._roads: dict[str, _Road] = {}
        self._lines: dict[tuple[str, str, bool, Headers], tuple[_Road, Line]] = {}

    async def send(
        self,
        provider: ProviderSpec,
        auth: Mapping[str, str],
        encoded: EncodedCall,
        take: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """The answer's status, its headers (names in any case will do) and its body.

        take: gets the parts of a successful stream of events as they come; the body is empty then.
        A cancellation closes the connection. Raises NotSent or MaybeBilled, and what `take` raises
        as ProviderError; redirects are answers like any other.
        """
        try:
            road, line = self._line(provider, auth, encoded)
        except Exception as error:  # noqa: BLE001 - nothing has been sent yet, whatever it was
            raise NotSent("bad_request_data", name_of(error)) from None
        patience = _timeout(provider.connect_timeout_s, provider.timeout_s)
        connection = await connected(road.connector, line, patience)
        return await exchange(
            connection,
            line,
            encoded.body,
            take,
            timeout_s=provider.timeout_s,
            max_bytes=self._max_answer_bytes,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        for road in self._roads.values():
            await road.connector.close()
        self._roads.clear()
        self._lines.clear()

    def _line(
        self, provider: ProviderSpec, auth: Mapping[str, str], encoded: EncodedCall
    ) -> tuple[_Road, Line]:
        given = (*provider.headers.items(), *encoded.headers.items(), *auth.items())
        key = (provider.base_url, encoded.path, encoded.streams, given)
        found = self._lines.get(key)
        if found is None:
            road = self._road(provider.base_url)
            url = URL(provider.base_url + encoded.path)
            headers = _headers(given, streams=encoded.streams)
            found = (road, line_to(url, headers, road.proxy, road.proxy_headers))
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            self._lines[key] = found
        return found

    def _road(self, base_url: str) -> _Road:
        proxy = self._proxy_for(base_url)
        if proxy not in self._roads:
            self._roads[proxy] = self._new_road(proxy)
        return self._roads[proxy]

    def _proxy_for(self, base_url: str) -> str:
        parts = urlsplit(base_url)
        if urllib.request.proxy_bypass(parts.hostname or ""):
            return ""
        return self._proxies.get(parts.scheme) or self._proxies.get("all") or ""

    def _new_road(self, proxy: str) -> _Road:
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=self._keep_alive_s, ssl=httpx.create_ssl_context()
        )
        if not proxy:
            return _Road(connector)
        parsed = httpx.Proxy(proxy)
        told = {}
        if parsed.auth is not None:
            told["Proxy-Authorization"] = aiohttp.encode_basic_auth(*parsed.auth)
        return _Road(connector, URL(str(parsed.url)), told)


@lru_cache(maxsize=64)
def _timeout(connect_s: float, call_s: float) -> aiohttp.ClientTimeout:
    """Of connecting: an address after the other, each for its time, and a name that is not found
    for as long as a call may take.
    """
    return aiohttp.ClientTimeout(connect=connect_s + call_s, sock_connect=connect_s)


def _headers(given: Headers, *, streams: bool) -> CIMultiDict[str]:
    """The headers of a call: ours, and over them what is given, the last of a name.

    Raises ValueError for what no header can hold.
    """
    headers: CIMultiDict[str] = CIMultiDict(
        {
            "content-type": "application/json",
            "accept": "text/event-stream" if streams else "application/json",
            "accept-encoding": "identity",
            "user-agent": _USER_AGENT,
        }
    )
    for name, value in given:
        headers[name] = value
    for name, value in headers.items():
        line = f"{name}{value}"
        if not line.isascii() or not line.isprintable():
            raise ValueError("a header with characters that none can hold")
    return headers
