"""One request to a receiver: guarded, pinned to the address that was checked, bounded in time.

Nothing of the environment is used (no proxies, no netrc), no redirect is followed, and connections
are not reused: a connection belongs to the name it was made for, not to the address it goes to.
"""

import asyncio
import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from shared.clock import utc_now
from shared.errors import UsageError
from shared.webhooks import url_guard
from shared.webhooks.url_guard import CheckedUrl, Resolver, system_resolver

TIMEOUT_S = 15.0
MAX_BODY_BYTES = 1024
_MAX_ADDRESSES = 3
_MAX_CONNECTIONS = 128
_OK = range(200, 300)
_GONE = 410
_RETRY_AFTER = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class TryOutcome:
    """What became of one request. `error` is None only for a success."""

    status_code: int | None
    error: str | None
    duration_ms: int
    retry_after_s: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more of them."""
        return self.status_code == _GONE


class Sender:
    """One a process; used by one event loop."""

    def __init__(
        self,
        allowed_cidrs: Sequence[str] = (),
        *,
        resolve: Resolver = system_resolver,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], datetime] = utc_now,
        verify: str | None = None,
    ) -> None:
        """`verify`: a file of certificates to trust instead of the usual ones."""
        self._allowed = tuple(allowed_cidrs)
        self._resolve = resolve
        self._timeout_s = timeout_s
        self._clock = clock
        context = httpx.create_ssl_context(trust_env=False)
        if verify is not None:
            context.load_verify_locations(verify)
        self._client = httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0, max_connections=_MAX_CONNECTIONS),
        )

    async def send(self, url: str, payload: str, headers: Mapping[str, str]) -> TryOutcome:
        """Make one try. Never raises for what the receiver or the network does."""
        began = time.monotonic()

        def outcome(
            error: str | None, status: int | None = None, retry_after_s: float | None = None
        ) -> TryOutcome:
            elapsed = int((time.monotonic() - began) * 1000)
            return TryOutcome(status, error[:300] if error else None, elapsed, retry_after_s)

        try:
            # One bound for everything: a receiver that drips its answer must not hold us.
            async with asyncio.timeout(self._timeout_s):
                target = await asyncio.to_thread(url_guard.check, url, self._allowed, self._resolve)
                status, body, retry_after = await self._post(target, payload, headers)
        except TimeoutError:
            return outcome(f"no answer within {self._timeout_s:g} s")
        except UsageError as error:
            return outcome(error.message)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return outcome(f"{type(error).__name__}: {error}")
        if status in _OK:
            return outcome(None, status)
        return outcome(f"HTTP {status}: {_printable(body)}", status, retry_after)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def _post(
        self, target: CheckedUrl, payload: str, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float | None]:
        addresses = target.addresses[:_MAX_ADDRESSES]
        for last, address in enumerate(addresses, start=1 - len(addresses)):
            try:
                return await self._post_to(target, address, payload, headers)
            except httpx.ConnectError:
                if last == 0:
                    raise
        raise httpx.ConnectError("the host has no address")

    async def _post_to(
        self, target: CheckedUrl, address: str, payload: str, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float | None]:
        request = self._client.build_request(
            "POST",
            target.at(address),
            content=payload.encode(),
            headers={
                "Host": target.host_header,
                "Content-Type": "application/json",
                "User-Agent": "promptmill-webhooks/1",
                **headers,
            },
            # The certificate is asked for and checked by the name, not by the pinned address.
            extensions={"sni_hostname": target.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            body = b""
            if response.status_code not in _OK:
                async for piece in response.aiter_raw(MAX_BODY_BYTES):
                    body += piece
                    if len(body) >= MAX_BODY_BYTES:
                        break
            return response.status_code, body[:MAX_BODY_BYTES], self._retry_after(response)
        finally:
            await response.aclose()

    def _retry_after(self, response: httpx.Response) -> float | None:
        """Seconds the receiver asks for, as a number or as a date."""
        text = response.headers.get("retry-after", "").strip()
        if response.status_code not in _RETRY_AFTER or not text:
            return None
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - self._clock()).total_seconds())


def _printable(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)[:200].strip()
