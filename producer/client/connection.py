"""One HTTP connection to the API: sends calls, sends them again where that is safe, maps errors.

The only part of the client that does I/O over the network; what to send and what an answer means
is decided in `calls` and `answers`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final

import httpx

from producer.client.address import is_loopback
from producer.client.answers import (
    Json,
    UnreachableError,
    error_of,
    json_of,
    pause_before_retry,
)
from producer.client.calls import Call

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_BLOCK: Final = 256 * 1024


class Connection:
    """Every call raises ApiError for what the API refuses, UnreachableError where none answers."""

    def __init__(
        self,
        address: str,
        key: str,
        *,
        project: str | None,
        timeout_s: float,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}", "User-Agent": "promptmill-client"}
        if project is not None:
            headers["X-Promptmill-Project"] = project
        self.address = address
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=address,
            headers=headers,
            # A proxy of the environment cannot reach this machine's own loopback address.
            trust_env=not is_loopback(address),
        )

    async def aclose(self) -> None:
        """Give the sockets back."""
        await self._http.aclose()

    async def json(self, call: Call, upload: BinaryIO | None = None) -> Json:
        """The JSON object answered to a call; `upload` is streamed as its body."""
        async with self.answer(call, upload) as response:
            return json_of(response.status_code, await response.aread())

    @asynccontextmanager
    async def answer(
        self, call: Call, upload: BinaryIO | None = None
    ) -> AsyncIterator[httpx.Response]:
        """The good answer to a call, its body not read yet."""
        response = await self._send_until_answered(call, upload)
        try:
            if not response.is_success:
                raise error_of(response.status_code, response.headers, await response.aread())
            yield response
        except httpx.TransportError as error:
            raise UnreachableError(
                f"the answer of {self.address} broke off ({type(error).__name__}): try again"
            ) from error
        finally:
            await response.aclose()

    async def _send_until_answered(self, call: Call, upload: BinaryIO | None) -> httpx.Response:
        tries = 0
        while True:
            tries += 1
            try:
                response = await self._send(call, upload)
            except httpx.TransportError as error:
                pause = pause_before_retry(
                    tries,
                    repeatable=call.repeatable,
                    status=None,
                    headers={},
                    sent=not isinstance(error, _NEVER_SENT),
                )
                if pause is None:
                    raise self._unreachable(error) from error
            else:
                pause = pause_before_retry(
                    tries,
                    repeatable=call.repeatable,
                    status=response.status_code,
                    headers=response.headers,
                    sent=True,
                )
                if pause is None:
                    return response
                await response.aclose()
            await asyncio.sleep(pause)

    async def _send(self, call: Call, upload: BinaryIO | None) -> httpx.Response:
        headers = dict(call.headers)
        if upload is not None:
            headers["Content-Length"] = str(upload.seek(0, 2))
            upload.seek(0)
        timeout_s = call.timeout_s or self._timeout_s
        request = self._http.build_request(
            call.method,
            call.path,
            params=dict(call.params),
            headers=headers,
            json=call.body,
            content=None if upload is None else _blocks(upload),
            timeout=httpx.Timeout(timeout_s, connect=min(self._timeout_s, 5.0)),
        )
        return await self._http.send(request, stream=True)

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        return UnreachableError(
            f"no answer from {self.address} ({type(error).__name__}): is it running? "
            "Start it with `promptmill up`, or mend PROMPTMILL_API_URL"
        )


async def _blocks(upload: BinaryIO) -> AsyncIterator[bytes]:
    while block := upload.read(_BLOCK):
        yield block
