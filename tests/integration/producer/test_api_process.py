"""`python -m producer.api` as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

KEY = "an-admin-key-for-the-process"


def test_the_process_serves_and_ends_with_0_when_it_is_told_to(
    tmp_path: Path, sqlite_url: str, redis_url: str
):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PROMPTMILL_HOME": str(tmp_path / "home"),
        "PROMPTMILL_DATABASE_URL": sqlite_url,
        "PROMPTMILL_REDIS_URL": redis_url,
        "PROMPTMILL_ADMIN_KEY": KEY,
    }
    command = [sys.executable, "-m", "producer.api", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            assert _ready(process, f"http://127.0.0.1:{port}")
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert KEY.encode() not in log


def test_a_catalog_that_cannot_be_read_ends_it_with_2_and_a_sentence(tmp_path: Path):
    environment = {
        **os.environ,
        "PROMPTMILL_HOME": str(tmp_path),
        "PROMPTMILL_CATALOG": str(tmp_path / "none.toml"),
    }
    command = [sys.executable, "-m", "producer.api", "--port", "1"]
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert b"none.toml" in ended.stderr
    assert b"Traceback" not in ended.stderr


def _ready(process: "subprocess.Popen[bytes]", address: str) -> bool:
    while process.poll() is None:
        try:
            return httpx.get(f"{address}/health/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            time.sleep(0.05)
    return False
