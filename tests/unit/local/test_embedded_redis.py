import stat
from pathlib import Path

import pytest
import redis

from producer.local.embedded_redis import answers, prepare
from producer.local.processes import start_child
from shared.errors import ConflictError
from tests.servers.valkey import ValkeyServer


def test_a_living_server_is_not_replaced_and_a_dead_ones_socket_is(tmp_path: Path) -> None:
    server = ValkeyServer()
    try:
        server.start()
        with pytest.raises(ConflictError, match="already listens"):
            prepare(tmp_path / "other", server.socket)
        server.kill()
        assert server.socket.exists()
        server.start()
        assert answers(server.socket)
    finally:
        server.remove()


def test_what_was_written_survives_a_hard_kill() -> None:
    server = ValkeyServer(sync="always")
    try:
        server.start()
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "yes")
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"yes"
    finally:
        server.remove()


def test_it_listens_on_no_port_and_only_its_owner_may_connect(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.config_get("port")["port"] == "0"
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    socket = Path(redis_url.removeprefix("unix://"))
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def test_a_home_with_spaces_and_quotes_works(tmp_path: Path) -> None:
    server = ValkeyServer()
    folder = server.folder / 'a "home" of mine'
    folder.mkdir()
    child = start_child("redis", prepare(folder / "redis", folder / "s"), log=tmp_path / "log")
    try:
        while not answers(folder / "s"):
            assert child.is_alive, child.log_tail()
        assert (folder / "redis" / "appendonlydir").is_dir()
    finally:
        child.kill()
        server.remove()
