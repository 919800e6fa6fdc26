"""Brings an answer to the client, or fails to: whole, streamed, late, cut off, garbled, never."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from simulator.exchange import Ask, Dialect, Frame, Reply
from simulator.replying import usage_so_far
from simulator.scenario import Rule
from simulator.usage import Usage, UsageOptions

_JSON = "application/json"
_GARBAGE = b"<!doctype html><html><body>upstream connect error</body></html>"
_TO_FIRST_FRAME = 0.4  # of a stream's latency; the rest is spread over its frames
_BLANK_LINES = 5
_LOOK_AGAIN_S = 0.2
_NO_STREAM = ("hang", "cut_before", "cut_after", "garbage", "blank_lines")


@dataclass(slots=True)
class Delivery:
    """One answer on its way. `charge` puts a usage on the bill and is called at most once.

    `charge` always comes before the bytes that complete the answer, so a client that has its answer
    finds it on the bill.
    """

    request: web.BaseRequest
    dialect: Dialect
    ask: Ask
    reply: Reply
    rule: Rule | None
    call_id: str
    headers: dict[str, str]
    latency_s: float
    options: UsageOptions
    charge: Callable[[Usage], None]

    async def deliver(self) -> web.StreamResponse:
        """Do what the rule says, or simply answer."""
        fault = self.rule.fault if self.rule else None
        if self.ask.stream and fault not in _NO_STREAM:
            return await self._stream()
        await self._wait(0 if fault == "blank_lines" else self.latency_s)
        match fault:
            case "hang":
                return await self._hang(billed=self.rule is not None and self.rule.billed)
            case "cut_before":
                return self._cut()
            case "cut_after":
                return await self._answer_half()
            case "blank_lines":
                return await self._answer_after_blank_lines()
            case _:
                return self._answer(_GARBAGE if fault == "garbage" else self._body())

    def _answer(self, body: bytes) -> web.Response:
        self.charge(self.reply.usage)
        return web.Response(body=body, headers=self.headers, content_type=_JSON)

    def _body(self) -> bytes:
        return self.dialect.render(self.ask, self.reply, self.call_id)

    def _frames(self) -> list[Frame]:
        return list(self.dialect.frames(self.ask, self.reply, self.call_id))

    async def _stream(self) -> web.StreamResponse:
        frames = self._frames()
        await self._wait(self.latency_s * _TO_FIRST_FRAME)
        response = await self._open(self.dialect.stream_type)
        pause = self.latency_s * (1 - _TO_FIRST_FRAME) / len(frames)
        complete = frames[-1].generated_bytes
        charged = False
        for frame in frames:
            if not charged and frame.generated_bytes == complete:
                self.charge(self.reply.usage)
                charged = True
            try:
                await response.write(frame.data)
            except ConnectionResetError:
                if not charged:
                    self.charge(
                        usage_so_far(self.ask, self.reply, frame.generated_bytes, self.options)
                    )
                return response
            await self._wait(pause)
        return response

    async def _answer_after_blank_lines(self) -> web.StreamResponse:
        """Keep the connection alive as DeepSeek does: blank lines, or comments in a stream."""
        sign = b": keep-alive\n\n" if self.ask.stream else b"\n"
        response = await self._open(self.dialect.stream_type if self.ask.stream else _JSON)
        frames = self._frames() if self.ask.stream else [Frame(self._body(), 0)]
        try:
            for _ in range(_BLANK_LINES):
                await response.write(sign)
                await self._wait(self.latency_s / _BLANK_LINES)
            self.charge(self.reply.usage)
            for frame in frames:
                await response.write(frame.data)
        except ConnectionResetError:
            return response
        return response

    async def _answer_half(self) -> web.StreamResponse:
        body = b"".join(frame.data for frame in self._frames()) if self.ask.stream else self._body()
        self.charge(self.reply.usage)
        response = web.StreamResponse(headers=self.headers)
        response.content_type = self.dialect.stream_type if self.ask.stream else _JSON
        if not self.ask.stream:
            response.content_length = len(body)
        try:
            await response.prepare(self.request)
            await response.write(body[: len(body) // 2])
        except ConnectionResetError:
            return response
        self._cut()
        return response

    async def _hang(self, *, billed: bool) -> web.StreamResponse:
        """Never answer; give up when the client has left."""
        if billed:
            self.charge(self.reply.usage)
        while (transport := self.request.transport) and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN_S)  # aiohttp has no event for a client that left
        return web.Response()

    def _cut(self) -> web.StreamResponse:
        """Close the socket; what is returned reaches nobody."""
        if self.request.transport is not None:
            self.request.transport.close()
        return web.Response()

    async def _open(self, content_type: str) -> web.StreamResponse:
        response = web.StreamResponse(headers=self.headers)
        response.content_type = content_type
        await response.prepare(self.request)
        return response

    @staticmethod
    async def _wait(seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)
