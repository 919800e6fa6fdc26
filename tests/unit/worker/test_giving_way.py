"""Only the loop of a batch worker gives way: who writes does not, for others wait for its locks."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.db.engine import Database
from worker.giving_way import give_way
from worker.pending_claims import PendingClaims
from worker.recording import Recorder

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere threads have no niceness of their own"
)


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def test_the_thread_that_gives_way_is_the_only_one(database_url: str):
    before = niceness()
    database = Database(database_url)
    with ThreadPoolExecutor(1) as loop:
        recorder = loop.submit(Recorder, database, PendingClaims(15.0)).result()
        loop.submit(give_way, 3).result()
        assert loop.submit(niceness).result() == min(before + 3, 19)
        assert loop.submit(os.sched_getscheduler, 0).result() == os.SCHED_BATCH
        assert recorder._thread.submit(niceness).result() == before
        recorder._thread.shutdown()
    assert niceness() == before
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    database.close()
