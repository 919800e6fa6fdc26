"""The one edge to the network: sends a call and says, when that fails, whether it had left.

Prebuilt requests go straight to the aiohttp transport (httpx's own client and pool cost a multiple
of the call). Only what aiohttp raises while it connects proves that nothing was sent; everything
after that, a broken keep-alive connection included, may have been billed. aiohttp repeats a request
on a fresh connection for idempotent methods only, so a POST is sent once.

Answers are asked for unpacked: they are small, and unpacking costs more than it saves.
"""

import asyncio
import urllib.request
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

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
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
_USER_AGENT: Final = "promptmill"

Answer = tuple[int, Mapping[str, str], bytes]


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
        self._transports: dict[str, AiohttpTransport] = {}
        self._by_base_url: dict[str, AiohttpTransport] = {}

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
            transport = self._transport(provider.base_url)
            request = _request(provider, auth, encoded)
        except Exception as error:  # noqa: BLE001 - nothing has been sent yet, whatever it was
            raise NotSent("bad_request_data", _name_of(error)) from None
        try:
            # So the deadline cannot fall into connecting, where it would prove nothing.
            async with asyncio.timeout(provider.connect_timeout_s + provider.timeout_s):
                return await self._exchange(transport, request, take)
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - no error of a library may pass this edge
            raise _mapped(error) from None

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._transports.values():
            await transport.aclose()
        self._transports.clear()
        self._by_base_url.clear()

    async def _exchange(
        self,
        transport: AiohttpTransport,
        request: httpx.Request,
        take: Callable[[bytes], None] | None,
    ) -> Answer:
        response = await transport.handle_async_request(request)
        reach(FaultPoint.AFTER_REQUEST)
        try:
            headers = {name.lower(): value for name, value in response.headers.items()}
            parts: list[bytes] = []
            size = 0
            if take is None or not _streams(response.status_code, headers):
                take = parts.append
            async for part in response.aiter_raw():
                size += len(part)
                if size > self._max_answer_bytes:
                    raise MaybeBilled("answer_too_large", f"more than {self._max_answer_bytes} B")
                take(part)
            return response.status_code, headers, b"".join(parts)
        finally:
            await response.aclose()

    def _transport(self, base_url: str) -> AiohttpTransport:
        found = self._by_base_url.get(base_url)
        if found is None:
            proxy = self._proxy_for(base_url)
            if proxy not in self._transports:
                self._transports[proxy] = self._new_transport(proxy)
            found = self._by_base_url[base_url] = self._transports[proxy]
        return found

    def _proxy_for(self, base_url: str) -> str:
        parts = urlsplit(base_url)
        if urllib.request.proxy_bypass(parts.hostname or ""):
            return ""
        return self._proxies.get(parts.scheme) or self._proxies.get("all") or ""

    def _new_transport(self, proxy: str) -> AiohttpTransport:
        context = httpx.create_ssl_context()

        def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=self._keep_alive_s, ssl=context
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )

        return AiohttpTransport(proxy=httpx.Proxy(proxy) if proxy else None, client=session)


def _request(
    provider: ProviderSpec, auth: Mapping[str, str], encoded: EncodedCall
) -> httpx.Request:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if encoded.streams else "application/json",
        "accept-encoding": "identity",
        "user-agent": _USER_AGENT,
        **provider.headers,
        **encoded.headers,
        **auth,
    }
    timeout = {"connect": provider.connect_timeout_s, "read": provider.timeout_s}
    return httpx.Request(
        "POST",
        provider.base_url + encoded.path,
        headers=headers,
        content=encoded.body,
        extensions={"timeout": timeout},
    )


def _streams(status: int, headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").strip().lower()
    return 200 <= status < 300 and kind.startswith("text/event-stream")  # noqa: PLR2004


def _mapped(error: Exception) -> ProviderError:
    """What a transport's error means; the bridge keeps aiohttp's own one as the cause.

    Its names are no proof: it calls a lost connection a connect timeout.
    """
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(cause, _NEVER_LEFT):
        slow = isinstance(cause, aiohttp.ConnectionTimeoutError)
        return NotSent("connect_timeout" if slow else "connect_failed", _name_of(cause))
    if isinstance(cause, TimeoutError | httpx.TimeoutException | aiohttp.ServerTimeoutError):
        return MaybeBilled("timeout", "no complete answer in time")
    return MaybeBilled("connection_lost", _name_of(cause))


def _name_of(error: Exception) -> str:
    """An error by its type and its system error: texts of libraries may hold addresses and keys."""
    inner = getattr(error, "os_error", error)
    reason = getattr(inner, "strerror", None)
    return f"{type(error).__name__}: {reason}" if isinstance(reason, str) else type(error).__name__
