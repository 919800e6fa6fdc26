"""A PostgreSQL whose machine or network is gone without a word is given up by the kernel."""

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import make_url

from shared.db.engine import Database

LEASE_S = 15


@pytest.fixture
def url_by_tcp(postgres_url: str) -> Iterator[str]:
    """The same database, through a relay: the tests' server listens on a unix socket only."""
    url = make_url(postgres_url)
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = f"{url.query['host']}/.s.PGSQL.5432"
        with suppress(ConnectionError):
            far_reader, far_writer = await asyncio.open_unix_connection(path)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = loop.run_until_complete(asyncio.start_server(relay, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    port = server.sockets[0].getsockname()[1]
    yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/{url.database}"
    loop.call_soon_threadsafe(server.close)
    asyncio.run_coroutine_threadsafe(server.wait_closed(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the options are those of Linux's sockets")
def test_a_connection_is_given_up_within_a_lease_whether_it_waits_or_sends(url_by_tcp: str) -> None:
    database = Database(url_by_tcp)
    with database.reading() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        with socket.socket(fileno=socket.dup(driver.pgconn.socket)) as own:  # type: ignore[attr-defined]
            idle_s, pause_s, tries, unread_ms = (
                own.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
            assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    database.close()
    assert idle_s + pause_s * tries < LEASE_S
    assert 0 < unread_ms < LEASE_S * 1000
