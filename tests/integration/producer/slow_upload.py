"""A submission that is sent piece by piece, when the test wants it."""

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

JSONL = {"Content-Type": "application/x-ndjson"}


class Upload:
    """An upload under way; its answer when it is ended."""

    def __init__(
        self, pieces: "queue.Queue[bytes | None]", answer: "Future[httpx.Response]"
    ) -> None:
        self._pieces = pieces
        self._answer = answer

    def send(self, content: bytes) -> None:
        self._pieces.put(content)

    def end(self) -> httpx.Response:
        self._pieces.put(None)
        return self._answer.result(60)

    def break_off(self) -> None:
        self._pieces.put(b"")
        with pytest.raises(ConnectionAbortedError):
            self._answer.result(60)


@contextmanager
def uploading(
    api: httpx.Client, content: bytes, key: str | None = None, **params: str
) -> Iterator[Upload]:
    """Begin to send; more is sent as the test goes on."""
    pieces: queue.Queue[bytes | None] = queue.Queue()

    def sent() -> Iterator[bytes]:
        while (piece := pieces.get(timeout=60)) is not None:
            if not piece:
                raise ConnectionAbortedError
            yield piece

    headers = JSONL | ({} if key is None else {"Idempotency-Key": key})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            api.post, "/v1/batches", content=sent(), headers=headers, params=params
        )
        upload = Upload(pieces, answer)
        upload.send(content)
        try:
            yield upload
        finally:
            pieces.put(None)
