"""What processes count of their work is added up, also when they end, however they end."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from producer.watching.process_figures import ProcessFigures
from shared.errors import ConfigurationError
from shared.tallies import OwnFigures, Posting
from worker.figures import WorkerFigures, serve_own
from worker.providers.errors import Throttled, Unavailable

ANSWERED = (
    'promptmill_attempts_total{model="luna",outcome="answered",provider="openai",purpose="answer"}'
)
QUARTER = 'promptmill_call_seconds_bucket{le="0.25",provider="openai"}'
HALF = 'promptmill_call_seconds_bucket{le="0.5",provider="openai"}'


def shown(collector: Collector) -> dict[str, float]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(number) for name, _, number in samples}


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    """Two processes that have counted."""
    command = [sys.executable, "-m", "tests.servers.counting", str(tmp_path / "metrics")]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "counted\n"
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_the_dead_stay_counted_and_leave_no_file(
    counting: list["subprocess.Popen[str]"], tmp_path: Path
) -> None:
    folder = tmp_path / "metrics"
    seen = shown(ProcessFigures(folder))
    assert seen[ANSWERED] == 2
    assert (seen[QUARTER], seen[HALF]) == (0, 2)
    assert seen["promptmill_calls_in_flight"] == 2
    counting[0].kill()
    counting[0].wait()
    counting[1].communicate()  # its input ends, and so does it
    for _ in range(2):
        after = shown(ProcessFigures(folder))
        in_flight = after.pop("promptmill_calls_in_flight", 0)
        assert in_flight == 0
        assert after == {name: seen[name] for name in after}
        assert after[ANSWERED] == 2
    left = {file.name for file in folder.iterdir()}
    assert left == {"counter_ended.db", "histogram_ended.db", "reader.lock"}


def test_a_process_shows_by_itself_what_the_files_show(tmp_path: Path) -> None:
    figures = WorkerFigures()
    posting = Posting(tmp_path, figures.tallies)
    for error in (Throttled("rate_limit", "slow down"), Unavailable("down", "no"), None):
        figures.sent()
        figures.ended("openai", "luna", "answer", 0.25 if error is None else None, error)
    figures.moved("completed", rescued=True)
    posting.publish()
    try:
        own = shown(OwnFigures(figures.tallies))
        assert own == shown(ProcessFigures(tmp_path))
    finally:
        posting.close()
    assert own[QUARTER] == own[HALF] == 1
    assert own[ANSWERED.replace("answered", "throttled")] == 1
    assert own["promptmill_escalations_rescued_total"] == 1


def test_a_folder_that_cannot_be_made_stops_no_work(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    posting = Posting(in_the_way / "metrics", WorkerFigures().tallies)
    posting.publish()
    posting.close()
    assert shown(ProcessFigures(in_the_way / "metrics")) == {}


def test_a_process_of_its_own_machine_is_scraped_by_itself_and_a_port_in_use_is_named() -> None:
    figures = WorkerFigures()
    assert serve_own(0, figures.tallies) is None
    server = serve_own_anywhere(figures)
    try:
        port = server.server_port
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        assert "promptmill_calls_in_flight 0" in answer.text
        with pytest.raises(ConfigurationError, match="PROMPTMILL_METRICS_PORT"):
            serve_own(port, figures.tallies)
    finally:
        server.shutdown()
        server.server_close()


def test_the_first_word_of_a_streamed_answer_is_timed() -> None:
    class Listening:
        def __init__(self) -> None:
            self.heard = 0

        def say(self, _choices: object) -> None:
            self.heard += 1

        async def until_gone(self) -> None:
            """At once."""

    figures, listening = WorkerFigures(), Listening()
    timed = figures.timed(listening, "openai")
    timed.say([])
    timed.say([])
    asyncio.run(timed.until_gone())
    seen = shown(OwnFigures(figures.tallies))
    assert listening.heard == 2
    assert seen['promptmill_first_token_seconds_count{provider="openai"}'] == 1


def serve_own_anywhere(figures: WorkerFigures) -> WSGIServer:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    server = serve_own(port, figures.tallies)
    assert server is not None
    return server
