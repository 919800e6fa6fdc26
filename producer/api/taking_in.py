"""Bodies that are streamed to where they are kept; disk, hash and lines stay off the event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from producer.early_upload import EarlyUpload
from producer.spool import Spool

_PIECE: Final = 1024 * 1024
_WITHIN_S: Final = 0.25
"""How long bytes of a slow upload wait for more of them before their lines are read."""


async def take_in(request: Request, spool: Spool) -> None:
    """Stream a request's body into the spool."""
    async with aclosing(_gathered(request, None)) as pieces:
        async for piece, _ in pieces:
            await run_in_threadpool(spool.write, piece)


async def take_in_early(request: Request, upload: EarlyUpload) -> None:
    """Stream a request's body into an upload, soon enough for its lines to run while it comes."""
    within_s = _WITHIN_S if upload.may_begin else None
    try:
        async with aclosing(_gathered(request, within_s)) as pieces:
            async for piece, is_last in pieces:
                await run_in_threadpool(upload.take, piece, is_last=is_last)
    except ClientDisconnect:
        await run_in_threadpool(upload.broken_off)
        raise


async def _gathered(request: Request, within_s: float | None) -> AsyncGenerator[tuple[bytes, bool]]:
    """The body in pieces of at least 1 MiB, or smaller ones when nothing came for a moment; and
    whether it ends with them, if that is known by then.
    """
    stream = request.stream()
    waiting = bytearray()
    following = None
    try:
        while True:
            following = following or asyncio.ensure_future(_next(stream))
            done, _ = await asyncio.wait({following}, timeout=within_s if waiting else None)
            if done:
                piece, following = following.result(), None
                if piece is None:
                    break
                waiting += piece
            if waiting and (len(waiting) >= _PIECE or not done):
                yield bytes(waiting), False
                waiting.clear()
    finally:
        if following is not None:
            following.cancel()
    if waiting:
        yield bytes(waiting), True


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    return await anext(stream, None)
