import pytest
import redis

from shared.errors import ConfigurationError, UnavailableError
from shared.redis_client import connect, connect_async, mapped_redis_errors
from shared.settings import Settings
from tests.servers.valkey import ValkeyServer


def test_the_client_answers_in_bytes(settings: Settings) -> None:
    with connect(settings) as client:
        client.set("a", "b")
        assert client.get("a") == b"b"


async def test_the_asynchronous_client_answers_in_bytes(settings: Settings) -> None:
    async with connect_async(settings) as client:
        await client.set("a", "b")
        assert await client.get("a") == b"b"


def test_a_server_that_is_gone_is_unavailable_and_one_that_is_back_is_used_again() -> None:
    server = ValkeyServer()
    try:
        server.start()
        client = connect(Settings(_env_file=None, redis_url=server.url))
        client.ping()
        server.kill()
        with pytest.raises(UnavailableError, match="Redis does not answer"), mapped_redis_errors():
            client.ping()
        server.start()
        assert client.ping()
        client.close()
    finally:
        server.remove()


def test_a_mistake_of_ours_stays_itself(settings: Settings) -> None:
    with connect(settings) as client:
        client.set("text", "x")
        with pytest.raises(redis.ResponseError), mapped_redis_errors():
            client.lpush("text", "y")


def test_an_address_that_is_none_says_what_it_should_be() -> None:
    with pytest.raises(ConfigurationError, match="begins with redis://"):
        connect(Settings(_env_file=None, redis_url="localhost:6379"))


def test_a_full_server_is_unavailable(redis_client: redis.Redis) -> None:
    redis_client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(UnavailableError), mapped_redis_errors():
            redis_client.set("much", "x" * 100)
    finally:
        redis_client.config_set("maxmemory", "0")
