"""The two commands, as whole systems of real processes: what they show, and what they leave."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120

pytestmark = pytest.mark.slow


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "producer.cli.main", *words]


class Up:
    """`promptmill up` on free ports, read until it says that it is up."""

    def __init__(self, home: Path, folder: Path, **more: str) -> None:
        words = ("up", "--home", str(home), "--port", "0", "--flower-port", "0", "--simulator")
        self.process = subprocess.Popen(
            command(*words),
            cwd=folder,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = self._read_until("Ctrl-C stops everything")
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def _read_until(self, mark: str) -> str:
        lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            lines.append(line)
            if mark in line:
                return "".join(lines)
        raise AssertionError("it did not come up:\n" + "".join(lines))

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        rest = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(PATIENCE_S), rest


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    left = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert not left


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path / "home", tmp_path)
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)
        assert_gone(started.family)


def test_the_demo_answers_every_sample_prices_it_and_leaves_nothing(tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    done = subprocess.run(
        command("demo"),
        cwd=tmp_path,
        env=environment(PROMPTMILL_TEST_MARK=mark),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    samples = (ROOT / "producer/samples/demo.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [
        json.loads(sample)["custom_id"] for sample in samples
    ]
    assert {line["status"] for line in lines} == {"completed"}
    assert all(line["cost_nusd"] > 0 and line["text"] for line in lines)
    assert "SIMULATED" in done.stdout
    assert f"{len(samples)} of {len(samples)} prompts answered" in done.stdout
    assert "own bill is the same, to the nano-dollar" in done.stdout
    assert "its signature is good" in done.stdout
    assert_none_carries(mark)


def test_the_demo_runs_on_another_redis_and_postgresql_by_their_urls_alone(
    tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    urls = {"PROMPTMILL_DATABASE_URL": postgres_url, "PROMPTMILL_REDIS_URL": redis_url}
    done = subprocess.run(
        command("demo"),
        cwd=tmp_path,
        env=environment(**urls),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  redis  " not in done.stdout
    assert "own bill is the same, to the nano-dollar" in done.stdout


def test_up_prints_its_addresses_and_ends_with_zero_leaving_nothing(up: Up, tmp_path: Path) -> None:
    address = (tmp_path / "home" / "api.url").read_text().strip()
    assert f"{address}/docs" in up.said
    assert "Flower" in up.said
    key = (tmp_path / "home" / "admin.key").read_text().strip()
    assert key not in up.said
    lines = [" ".join(process.cmdline()) for process in up.family]
    assert sum("worker.celery_worker" in line for line in lines) >= 2
    assert not any(key in line for line in lines)
    code, rest = up.end(signal.SIGTERM)
    assert code == 0, rest
    assert "killed" not in rest
    assert_gone(up.family)
    assert not (tmp_path / "home" / "api.url").exists()


def test_up_killed_hard_leaves_nothing_and_starts_again_on_the_same_home(
    up: Up, tmp_path: Path
) -> None:
    code, _ = up.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert_gone(up.family)
    again = Up(tmp_path / "home", tmp_path)
    assert again.end(signal.SIGINT)[0] == 0
    assert_gone(again.family)


def test_a_worker_that_is_killed_is_started_again_and_work_goes_on(up: Up, tmp_path: Path) -> None:
    workers = [p for p in up.family if "worker.celery_worker" in p.cmdline()]
    assert workers
    for worker in workers:
        worker.kill()
    line = json.dumps({"custom_id": "after", "prompt": "What is the capital of Norway?"})
    (tmp_path / "one.jsonl").write_text(line + "\n")
    done = subprocess.run(
        command("submit", "one.jsonl", "-o", "out.jsonl"),
        cwd=tmp_path,
        env=environment(PROMPTMILL_HOME=str(tmp_path / "home")),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.jsonl").read_text())["status"] == "completed"
    _, rest = up.end(signal.SIGTERM)
    assert len(re.findall(r"starting it again", rest)) >= len(workers)
    assert_gone(up.family)


def test_a_second_up_on_the_same_home_and_a_busy_port_are_refused_with_what_to_do(
    up: Up, tmp_path: Path
) -> None:
    second = subprocess.run(
        command("up", "--home", str(tmp_path / "home"), "--port", "0", "--flower-port", "0"),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert second.returncode == 1
    assert f"process {up.process.pid}" in second.stderr
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        third = subprocess.run(
            command("up", "--home", str(tmp_path / "other"), "--port", str(port)),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert third.returncode == 1
    assert f"port {port}" in third.stderr
    assert "--port PORT" in third.stderr
    assert up.process.poll() is None


def assert_none_carries(mark: str) -> None:
    """No process is left that inherited the environment of the one that was run."""
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PROMPTMILL_TEST_MARK") == mark:
                left.append(process)
        except psutil.Error:
            continue
    assert_gone(left)
