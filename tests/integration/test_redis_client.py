import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from producer.local.embedded_redis import server_binary
from producer.local.ports import claim_port, is_taken
from producer.local.processes import start_child
from shared.domain.batch import Priority
from shared.errors import ConfigurationError, UnavailableError
from shared.queue.celery_app import make_celery_app
from shared.queue.lanes import INTERACTIVE_QUEUE
from shared.queue.messages import ChunkMessage
from shared.queue.publisher import Publisher
from shared.redis_client import connect, connect_async, mapped_redis_errors, stopped
from shared.settings import Settings
from tests.servers.valkey import ValkeyServer
from tests.servers.waiting import wait_for


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


@pytest.fixture
def server_with_password(tmp_path: Path) -> Iterator[str]:
    port = claim_port(0, "")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", "sesame", "--save", ""]
    child = start_child(
        "redis", [str(server_binary()), *options], log=tmp_path / "log", cwd=tmp_path
    )
    try:
        wait_for(lambda: is_taken(port), "the server listens")
        yield f"127.0.0.1:{port}/0"
    finally:
        child.kill()


def test_a_server_on_the_network_is_used_by_its_url_for_counters_and_for_the_queue(
    server_with_password: str,
) -> None:
    settings = Settings(_env_file=None, redis_url=f"redis://:sesame@{server_with_password}")
    with connect(settings) as client:
        assert client.ping()
    app = make_celery_app(settings)
    publisher = Publisher(app)
    publisher.publish([ChunkMessage("batch_1", 1, "1")], "acme", Priority.INTERACTIVE)
    assert publisher.depths()[INTERACTIVE_QUEUE] == 1
    app.close()


def test_a_wrong_password_says_which_setting_is_wrong_and_not_the_password(
    server_with_password: str,
) -> None:
    settings = Settings(_env_file=None, redis_url=f"redis://:mistaken@{server_with_password}")
    with (
        connect(settings) as client,
        pytest.raises(UnavailableError, match="PROMPTMILL_REDIS_URL") as refused,
        mapped_redis_errors(),
    ):
        client.ping()
    assert "mistaken" not in refused.value.message


async def test_a_task_that_forgets_a_cancellation_is_stopped_all_the_same() -> None:
    rounds = 0

    async def sent_under_wait_for() -> None:
        # What a command does that is sent in the moment in which it is cancelled.
        nonlocal rounds
        while True:
            rounds += 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if rounds > 1:
                    raise

    task = asyncio.create_task(sent_under_wait_for())
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    ended.set_result("what it came to")
    await asyncio.sleep(0)
    await stopped(task, ended)
    assert task.cancelled()
    assert rounds == 2
    assert ended.result() == "what it came to"
