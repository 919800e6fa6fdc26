import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from producer.local.processes import rotate, start_child, tail

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def test_output_goes_to_the_log_and_earlier_logs_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    for number in range(5):
        child = start_child("x", [sys.executable, "-c", f"print('run {number}')"], log=log)
        assert child.wait(20)
        assert child.exit_code == 0
        assert child.log_tail() == f"run {number}"
    assert [tail(log.with_name(f"x.log.{n}"), 1) for n in (1, 2, 3)] == ["run 3", "run 2", "run 1"]
    assert not log.with_name("x.log.4").exists()


def test_the_tail_of_a_large_log_is_its_end(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert tail(log, 2) == "line 99998\nline 99999"
    assert tail(tmp_path / "none.log", 2) == ""
    rotate(tmp_path / "none.log")


@pytest.mark.parametrize("tether", [False, True])
def test_a_child_leads_its_own_group_and_stops_when_asked(tmp_path: Path, tether: bool) -> None:
    child = start_child("x", SLEEP, log=tmp_path / "x.log", tether=tether)
    assert os.getpgid(child.pid) == child.pid != os.getpgrp()
    assert child.stop(20)
    assert not child.is_alive


def test_a_child_that_does_not_listen_is_killed_with_its_own_children(tmp_path: Path) -> None:
    script = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, flush=True)
        time.sleep(60)
    """
    log = tmp_path / "x.log"
    child = start_child("x", [sys.executable, "-c", textwrap.dedent(script)], log=log)
    while not tail(log, 1):
        child.wait(0.02)
    grandchild = psutil.Process(int(tail(log, 1)))
    assert not child.stop(0.1)
    psutil.wait_procs([grandchild], timeout=20)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("tether", [False, True])
def test_a_child_dies_with_a_parent_that_is_killed(tether: bool) -> None:
    script = f"""
        import sys, time
        from producer.local.processes import start_child
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = start_child("x", sleep, tether={tether})
        print(child.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        family = [child, *child.children(recursive=True)]
        os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_children_are_refused_off_the_main_thread() -> None:
    refused: list[RuntimeError] = []

    def start() -> None:
        try:
            start_child("x", SLEEP)
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert refused
