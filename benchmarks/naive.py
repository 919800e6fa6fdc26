"""Runs the naive way (`naive_app`): 32 prefork processes on the same broker, database, provider."""

import os
import sys
import time
from pathlib import Path

import psutil
import psycopg

from benchmarks.ours import Run
from benchmarks.process_cost import counted
from producer.local.processes import ChildProcess, start_child

_PROCESSES = 32
_WARM_UP = 100
_PATIENCE_S = 120.0


def run(folder: Path, broker_url: str, database_url: str, provider_url: str, jobs: int) -> Run:
    """Answer so many prompts. The broker and PostgreSQL are children of this process already."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {
        **os.environ,
        "BENCH_BROKER": broker_url,
        "BENCH_DATABASE": database_url,
        "BENCH_URL": provider_url,
    }
    command = (
        *(sys.executable, "-m", "celery", "-A", "benchmarks.naive_app", "worker"),
        *("--pool", "prefork", "--concurrency", str(_PROCESSES), "-l", "warning"),
    )
    dsn = database_url.replace("+psycopg", "")
    worker = start_child("naive", command, env=env, log=folder / "naive.log")
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            _answer(folder, env, connection, _WARM_UP, worker)
            began = time.perf_counter()
            with counted(lambda: _groups(worker)) as cost:
                submitted_s = _answer(folder, env, connection, jobs, worker)
            wall_s = time.perf_counter() - began
        cost.cpu_s["submission"] = submitted_s
        return Run(jobs, wall_s, cost.cpu_ms_per(jobs), cost.peak_mb, _PROCESSES)
    finally:
        worker.kill()


def _answer(
    folder: Path,
    env: dict[str, str],
    connection: "psycopg.Connection[tuple[int]]",
    jobs: int,
    worker: ChildProcess,
) -> float:
    """Submit and wait; the CPU seconds of the submission."""
    command = (sys.executable, "-m", "benchmarks.naive_app", str(jobs))
    submission = start_child("submission", command, env=env, log=folder / "submission.log")
    deadline = time.monotonic() + _PATIENCE_S
    _, status, usage = os.wait4(submission.pid, 0)
    if status:
        raise RuntimeError(f"the naive submission failed:\n{submission.log_tail()}")
    while connection.execute("SELECT 1 FROM prompts WHERE status <> 'done' LIMIT 1").fetchone():
        if time.monotonic() > deadline or not worker.is_alive:
            raise RuntimeError(f"the naive way did not get done:\n{worker.log_tail()}")
        time.sleep(0.2)
    return usage.ru_utime + usage.ru_stime


def _groups(worker: ChildProcess) -> dict[str, list[psutil.Process]]:
    groups = {"workers": [psutil.Process(worker.pid)]}
    for child in psutil.Process().children():
        line = " ".join(child.cmdline())
        for name in ("postgres", "valkey"):
            if name in line and child.pid != worker.pid:
                groups.setdefault(name, []).append(child)
    return groups
