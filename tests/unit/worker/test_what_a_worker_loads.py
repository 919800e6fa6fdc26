"""A worker process is small: it loads what it runs on, and its threads share one heap."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from shared.interpreter import as_if_not_installed

OF_NO_USE = {
    *("producer", "fastapi", "nicegui", "uvicorn", "typer", "alembic", "migrations"),
    *("flower", "tornado", "prompt_toolkit", "celery.bin.celery", "curses"),
    *("rich", "pygments", "yaml", "psutil", "opentelemetry.sdk", "splintr", "jsonschema_rs"),
    *("psycopg", "worker.maintenance", "worker.webhooks.sender"),
}
"""Psycopg, since these workers are on SQLite."""

LOADED = """
import sys
from shared.db.engine import Database
from worker import celery_worker
celery_worker.load()
Database(sys.argv[1]).ping()
print(*sys.modules)
"""

HEAPS = """
import ctypes, sys, threading
from shared.interpreter import share_one_heap
if "shared" in sys.argv:
    share_one_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
threads = [threading.Thread(target=libc.malloc, args=(5000,)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


def said(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_worker_loads_nothing_that_it_has_no_use_for(tmp_path: Path) -> None:
    loaded = set(said(LOADED, f"sqlite:///{tmp_path}/empty.db").split())
    assert {"worker.app", "celery.worker.worker", "structlog.dev", "tenacity"} <= loaded
    assert not loaded & OF_NO_USE


def test_what_is_hidden_while_others_are_imported_can_be_had_afterwards() -> None:
    absent = "wave"
    assert absent not in sys.modules
    with as_if_not_installed(absent, "sys"):
        with pytest.raises(ImportError):
            import_module(absent)
        assert import_module("sys") is sys
    assert import_module(absent)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has heaps of threads")
def test_all_threads_of_a_process_share_one_heap() -> None:
    own = said(HEAPS).count("<heap nr=")
    if own == 1:
        pytest.skip("this C library, or its environment, has one heap for all")
    assert said(HEAPS, "shared").count("<heap nr=") == 1
