"""The transport against real sockets: did it leave or not."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.contract.providers.raw_server import answer, raw_server
from tests.unit.providers.specs import provider_of
from worker.providers.base import EncodedCall
from worker.providers.errors import MaybeBilled, NotSent
from worker.providers.http import HttpSender

CALL = EncodedCall("/chat", b'{"a":1}')


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    sender = HttpSender(max_answer_bytes=1000, proxies={})
    yield sender
    await sender.aclose()


async def send(sender: HttpSender, url: str, **spec: object) -> tuple[int, bytes]:
    status, _, body = await sender.send(provider_of("openai", url, **spec), {}, CALL)
    return status, body


async def kind_of(error: type[Exception], sender: HttpSender, url: str, **spec: object) -> str:
    with pytest.raises(error) as caught:
        await send(sender, url, **spec)
    assert type(caught.value) is error
    return str(caught.value.kind)


async def test_an_answer_comes_with_status_headers_and_body(sender: HttpSender):
    async def answers(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"hello", "418 Odd"))

    async with raw_server(answers) as server:
        provider = provider_of("openai", server.url)
        status, headers, body = await sender.send(provider, {"authorization": "Bearer k"}, CALL)
    assert (status, headers["x-request-id"], body) == (418, "r1", b"hello")


async def test_a_refused_connection_was_not_sent(sender: HttpSender):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert await kind_of(NotSent, sender, url) == "connect_failed"


async def test_a_name_that_does_not_resolve_was_not_sent(sender: HttpSender):
    assert await kind_of(NotSent, sender, "http://nowhere.invalid") == "connect_failed"


async def test_a_tls_failure_was_not_sent(sender: HttpSender):
    async def speaks_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"no TLS here"))
        writer.close()

    server = await asyncio.start_server(speaks_plainly, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await kind_of(NotSent, sender, url) == "connect_failed"


async def test_a_connect_that_hangs_was_not_sent(sender: HttpSender):
    with socket.socket() as full:  # a listener that never accepts, its queue filled up
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        kind = await kind_of(NotSent, sender, url, connect_timeout_s=0.2)
        for filler in fillers:
            filler.close()
    assert kind == "connect_timeout"


async def test_an_address_that_is_none_was_not_sent(sender: HttpSender):
    await kind_of(NotSent, sender, "nonsense")
    await kind_of(NotSent, sender, "ftp://127.0.0.1/x")


async def test_a_key_that_no_header_can_hold_was_not_sent(sender: HttpSender):
    provider = provider_of("openai", "http://127.0.0.1:9")
    with pytest.raises(NotSent) as caught:
        await sender.send(provider, {"authorization": "Bearer sk-sécret\u20ac"}, CALL)
    assert "cret" not in str(caught.value)


async def test_a_hang_after_sending_may_be_billed(sender: HttpSender):
    async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamReader):
        await reader.read()

    async with raw_server(hangs) as server:
        assert await kind_of(MaybeBilled, sender, server.url, timeout_s=0.3) == "timeout"
        assert server.requests == 1


async def test_a_trickle_is_cut_at_the_deadline(sender: HttpSender):
    async def trickles(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"", length=1000))
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    brief = {"timeout_s": 0.3, "connect_timeout_s": 0.2}
    async with raw_server(trickles) as server:
        assert await kind_of(MaybeBilled, sender, server.url, **brief) == "timeout"


async def test_a_cut_before_any_answer_may_be_billed_and_is_not_repeated(sender: HttpSender):
    async with raw_server(lambda _, writer: _close(writer)) as server:
        assert await kind_of(MaybeBilled, sender, server.url) == "connection_lost"
        assert (server.requests, server.connections) == (1, 1)


async def test_a_reset_may_be_billed(sender: HttpSender):
    async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.transport.abort()

    async with raw_server(resets) as server:
        assert await kind_of(MaybeBilled, sender, server.url) == "connection_lost"
        assert server.requests == 1


async def test_a_cut_in_the_middle_may_be_billed(sender: HttpSender):
    async def cuts(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"half", length=100))
        await _close(writer)

    async with raw_server(cuts) as server:
        assert await kind_of(MaybeBilled, sender, server.url) == "connection_lost"


async def test_what_is_no_http_may_be_billed(sender: HttpSender):
    async def babbles(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(b"\x00\x01 what is this\r\n\r\n")

    async with raw_server(babbles) as server:
        await kind_of(MaybeBilled, sender, server.url)
        assert server.requests == 1


async def test_an_endless_answer_is_cut_at_the_limit(sender: HttpSender):
    async def floods(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"x" * 2000))

    async with raw_server(floods) as server:
        assert await kind_of(MaybeBilled, sender, server.url) == "answer_too_large"


async def test_an_idle_connection_is_used_again(sender: HttpSender):
    async def answers(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"ok"))

    async with raw_server(answers) as server:
        assert await send(sender, server.url) == (200, b"ok")
        assert await send(sender, server.url) == (200, b"ok")
        assert server.connections == 1


async def test_an_idle_connection_closed_by_the_server_costs_nothing(sender: HttpSender):
    closed = asyncio.Event()

    async def answers_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"ok"))
        await _close(writer)
        await writer.wait_closed()
        closed.set()

    async with raw_server(answers_once) as server:
        assert await send(sender, server.url) == (200, b"ok")
        await closed.wait()
        await asyncio.sleep(0.05)  # the end of the stream reaches the client's socket
        assert await send(sender, server.url) == (200, b"ok")
        assert server.connections == 2


async def test_a_server_that_drops_a_reused_connection_is_not_asked_twice(sender: HttpSender):
    count = 0

    async def drops_the_second(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        nonlocal count
        count += 1
        if count == 1:
            writer.write(answer(b"ok"))
        else:
            await _close(writer)

    async with raw_server(drops_the_second) as server:
        assert await send(sender, server.url) == (200, b"ok")
        assert await kind_of(MaybeBilled, sender, server.url) == "connection_lost"
        assert server.requests == 2


async def test_a_redirect_is_not_followed(sender: HttpSender):
    async def redirects(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(b"HTTP/1.1 307 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(redirects) as server:
        assert await send(sender, server.url) == (307, b"")
        assert server.requests == 1


async def test_an_answer_in_pieces_after_a_promise_of_one_is_whole(sender: HttpSender):
    async def hesitates(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()
        writer.write(b"5\r\n more\r\n0\r\n\r\n")

    async with raw_server(hesitates) as server:
        assert await send(sender, server.url) == (200, b"half more")
        assert await send(sender, server.url) == (200, b"half more")
        assert server.connections == 1


async def test_an_answer_before_the_end_of_the_question_leaves_no_connection_behind(
    sender: HttpSender,
):
    ended = asyncio.Event()
    connections: list[asyncio.Task[None] | None] = []

    async def refuses_unread(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        connections.append(asyncio.current_task())
        writer.write(answer(b"too large", "413 Content Too Large"))
        await ended.wait()
        writer.transport.abort()

    async with await asyncio.start_server(refuses_unread, "127.0.0.1", 0, limit=1) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        large = EncodedCall("/chat", b"x" * 8_000_000)
        status, _, body = await sender.send(provider_of("openai", url), {}, large)
        assert (status, body) == (413, b"too large")
        assert await send(sender, url) == (413, b"too large")
        ended.set()
        await asyncio.gather(*filter(None, connections))
    assert len(connections) == 2


async def test_a_proxy_is_told_the_whole_address_and_who_asks():
    async def passes_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"by proxy"))

    async with raw_server(passes_on) as proxy:
        url = proxy.url.replace("//", "//me:secret@")
        sender = HttpSender(proxies={"http": url})
        assert await send(sender, "http://models.example/v1") == (200, b"by proxy")
        await sender.aclose()
    first, *told = proxy.heads[0].lower().split(b"\r\n")
    assert first == b"post http://models.example/v1/chat http/1.1"
    assert b"host: models.example" in told
    assert b"proxy-authorization: basic bwu6c2vjcmv0" in told


async def test_through_a_proxy_that_opens_no_tunnel_nothing_was_sent():
    async def refuses(_: asyncio.StreamReader, writer: asyncio.StreamWriter):
        writer.write(answer(b"", "407 Who are you"))

    async with raw_server(refuses) as proxy:
        sender = HttpSender(proxies={"https": proxy.url})
        assert await kind_of(NotSent, sender, "https://models.example") == "connect_failed"
        await sender.aclose()
    assert [head.splitlines()[0] for head in proxy.heads] == [
        b"CONNECT models.example:443 HTTP/1.1"
    ]


async def test_a_cancelled_call_closes_its_connection(sender: HttpSender):
    async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamReader):
        await reader.read()

    async with raw_server(hangs) as server:
        task = asyncio.create_task(send(sender, server.url))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
