import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import create_engine, inspect


def test_every_test_begins_with_an_empty_redis(redis_client: redis.Redis) -> None:
    assert redis_client.dbsize() == 0
    redis_client.set("left", "behind")


def test_what_another_test_wrote_to_redis_is_gone(redis_client: redis.Redis) -> None:
    assert redis_client.dbsize() == 0
    redis_client.set("left", "behind")


def test_a_database_is_migrated_on_both_kinds(database_url: str) -> None:
    engine = create_engine(database_url)
    try:
        assert "jobs" in inspect(engine).get_table_names()
    finally:
        engine.dispose()


def test_a_blank_database_has_no_tables(blank_database_url: str) -> None:
    engine = create_engine(blank_database_url)
    try:
        assert inspect(engine).get_table_names() == []
    finally:
        engine.dispose()


def test_the_real_network_cannot_be_reached() -> None:
    with (
        socket.socket(socket.AF_INET) as connection,
        pytest.raises(RuntimeError, match="tests stay on this machine"),
    ):
        connection.connect(("192.0.2.1", 80))


def test_no_server_survives_tests_that_are_killed(tmp_path: Path) -> None:
    script = """
        import sys, time
        from tests.servers.postgres import PostgresServer
        from tests.servers.valkey import ValkeyServer
        servers = [ValkeyServer(), PostgresServer()]
        for server in servers:
            server.start()
        print(*[server._child.pid for server in servers], *[s.folder for s in servers], flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first, second, *folders = process.stdout.readline().split()
    children = [psutil.Process(int(pid)) for pid in (first, second)]
    family = [*children, *children[1].children(recursive=True)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], gone
    for folder in folders:
        subprocess.run(["rm", "-rf", folder], check=True)
