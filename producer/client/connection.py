"""One HTTP connection to the API: sends calls, sends them again where that is safe, maps errors.

The only part of the client that does I/O over the network; what to send and what an answer means
is decided in `calls` and `answers`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

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
        self._http = httpx.Client(
            base_url=address,
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
            # A proxy of the environment cannot reach this machine's own loopback address.
            trust_env=not is_loopback(address),
        )

    def close(self) -> None:
        """Give the sockets back."""
        self._http.close()

    def json(self, call: Call, upload: BinaryIO | None = None) -> Json:
        """The JSON object answered to a call; `upload` is streamed as its body."""
        with self.answer(call, upload) as response:
            return json_of(response.status_code, response.read())

    @contextmanager
    def answer(self, call: Call, upload: BinaryIO | None = None) -> Iterator[httpx.Response]:
        """The good answer to a call, its body not read yet."""
        response = self._send_until_answered(call, upload)
        try:
            if not response.is_success:
                raise error_of(response.status_code, response.headers, response.read())
            yield response
        except httpx.TransportError as error:
            raise UnreachableError(
                f"the answer of {self.address} broke off ({type(error).__name__}): try again"
            ) from error
        finally:
            response.close()

    def _send_until_answered(self, call: Call, upload: BinaryIO | None) -> httpx.Response:
        tries = 0
        while True:
            tries += 1
            try:
                response = self._send(call, upload)
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
                response.close()
            time.sleep(pause)

    def _send(self, call: Call, upload: BinaryIO | None) -> httpx.Response:
        if upload is not None:
            upload.seek(0)
        request = self._http.build_request(
            call.method,
            call.path,
            params=dict(call.params),
            headers=dict(call.headers),
            json=call.body,
            content=upload,
        )
        return self._http.send(request, stream=True)

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        return UnreachableError(
            f"no answer from {self.address} ({type(error).__name__}): is it running? "
            "Start it with `promptmill up`, or mend PROMPTMILL_API_URL"
        )
