"""The one edge to the network: sends a call and says, when that fails, whether it had left.

aiohttp is called as it is: even its bridge to httpx costs as much again as the call (measured in
docs/performance.md). Addresses and headers are made and checked once for all calls that share them.
Only what aiohttp raises while it connects proves that nothing was sent; everything after that, a
broken keep-alive connection included, may have been billed. aiohttp repeats a request on a fresh
connection for idempotent methods only, so a POST is sent once.

Answers are asked for unpacked: they are small, and unpacking costs more than it saves.
"""

import asyncio
import io
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import httpx
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from shared.catalog.spec import ProviderSpec
from shared.fault_points import FaultPoint, reach
from worker.providers.base import EncodedCall
from worker.providers.errors import MaybeBilled, NotSent, ProviderError

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
# Shorter than the idle timeouts of servers and load balancers (mostly 60 s and more): reusing a
# connection in the moment the server closes it cannot be told from a lost answer.
KEEP_ALIVE_S: Final = 15.0

_NEVER_LEFT: Final = (
    aiohttp.ClientConnectorError,  # refused, unreachable, DNS, TLS, proxy
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
_USER_AGENT: Final = "promptmill"
# Above this aiohttp wants a stream, which it writes in pieces.
_LARGE_BODY_BYTES: Final = 1024 * 1024

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass(frozen=True, slots=True)
class _Road:
    """How a host is reached: a session, and the proxy where there is one."""

    session: aiohttp.ClientSession
    proxy: URL | None = None
    proxy_auth: aiohttp.BasicAuth | None = None


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
        self._by_base_url: dict[str, _Road] = {}

    async def send(
        self,
        provider: ProviderSpec,
        auth: Mapping[str, str],
        encoded: EncodedCall,
        take: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """The answer's status, its headers (lower-case names) and its body.

        take: gets the parts of a successful stream of events as they come; the body is empty then.
        A cancellation closes the connection. Raises NotSent or MaybeBilled, and what `take` raises
        as ProviderError; redirects are answers like any other.
        """
        try:
            road = self._road(provider.base_url)
            url = _url(provider.base_url + encoded.path)
            headers = _headers(
                encoded.streams,
                tuple(provider.headers.items()),
                tuple(encoded.headers.items()),
                tuple(auth.items()),
            )
        except Exception as error:  # noqa: BLE001 - nothing has been sent yet, whatever it was
            raise NotSent("bad_request_data", _name_of(error)) from None
        try:
            # So the deadline cannot fall into connecting, where it would prove nothing.
            async with asyncio.timeout(provider.connect_timeout_s + provider.timeout_s):
                return await self._exchange(road, url, headers, provider, encoded.body, take)
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - no error of a library may pass this edge
            raise _mapped(error) from None

    async def aclose(self) -> None:
        """Close every connection."""
        for road in self._roads.values():
            await road.session.close()
        self._roads.clear()
        self._by_base_url.clear()

    async def _exchange(
        self,
        road: _Road,
        url: URL,
        headers: Mapping[str, str],
        provider: ProviderSpec,
        body: bytes,
        take: Callable[[bytes], None] | None,
    ) -> Answer:
        async with road.session.post(
            url,
            data=io.BytesIO(body) if len(body) > _LARGE_BODY_BYTES else body,
            headers=headers,
            timeout=_timeout(provider.connect_timeout_s, provider.timeout_s),
            allow_redirects=False,
            proxy=road.proxy,
            proxy_auth=road.proxy_auth,
        ) as response:
            reach(FaultPoint.AFTER_REQUEST)
            told = {name.lower(): value for name, value in response.headers.items()}
            parts: list[bytes] = []
            size = 0
            if take is None or not _streams(response.status, told):
                take = parts.append
            async for part in response.content.iter_any():
                size += len(part)
                if size > self._max_answer_bytes:
                    raise MaybeBilled("answer_too_large", f"more than {self._max_answer_bytes} B")
                take(part)
            return response.status, told, b"".join(parts)

    def _road(self, base_url: str) -> _Road:
        found = self._by_base_url.get(base_url)
        if found is None:
            proxy = self._proxy_for(base_url)
            if proxy not in self._roads:
                self._roads[proxy] = self._new_road(proxy)
            found = self._by_base_url[base_url] = self._roads[proxy]
        return found

    def _proxy_for(self, base_url: str) -> str:
        parts = urlsplit(base_url)
        if urllib.request.proxy_bypass(parts.hostname or ""):
            return ""
        return self._proxies.get(parts.scheme) or self._proxies.get("all") or ""

    def _new_road(self, proxy: str) -> _Road:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=self._keep_alive_s, ssl=httpx.create_ssl_context()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        if not proxy:
            return _Road(session)
        parsed = httpx.Proxy(proxy)
        auth = None if parsed.auth is None else aiohttp.BasicAuth(*parsed.auth)
        return _Road(session, URL(str(parsed.url)), auth)


@lru_cache(maxsize=256)
def _url(text: str) -> URL:
    return URL(text)


@lru_cache(maxsize=64)
def _timeout(connect_s: float, read_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_connect=connect_s, sock_read=read_s)


@lru_cache(maxsize=256)
def _headers(streams: bool, *groups: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The headers of a call, later groups over earlier ones; to be read only, calls share them.

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
    for group in groups:
        headers.update(group)
    for name, value in headers.items():
        line = f"{name}{value}"
        if not line.isascii() or not line.isprintable():
            raise ValueError("a header with characters that none can hold")
    return CIMultiDictProxy(headers)


def _streams(status: int, headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").strip().lower()
    return 200 <= status < 300 and kind.startswith("text/event-stream")  # noqa: PLR2004


def _mapped(error: Exception) -> ProviderError:
    """What an error of aiohttp means: only those of connecting prove that nothing was sent."""
    if isinstance(error, _NEVER_LEFT):
        slow = isinstance(error, aiohttp.ConnectionTimeoutError)
        return NotSent("connect_timeout" if slow else "connect_failed", _name_of(error))
    if isinstance(error, TimeoutError):
        return MaybeBilled("timeout", "no complete answer in time")
    return MaybeBilled("connection_lost", _name_of(error))


def _name_of(error: Exception) -> str:
    """An error by its type and its system error: texts of libraries may hold addresses and keys."""
    inner = getattr(error, "os_error", error)
    reason = getattr(inner, "strerror", None)
    return f"{type(error).__name__}: {reason}" if isinstance(reason, str) else type(error).__name__
