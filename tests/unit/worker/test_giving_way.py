"""Only the loop of a batch worker gives way: who writes does not, for others wait for its locks.
To other programs all of it does.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def told_by(*, start_new_session: bool) -> str:
    """What a program of a session of its own, or of ours, says of its session's niceness."""
    program = (
        "from pathlib import Path; from worker.giving_way import session_gives_way;"
        "session_gives_way(3); print(Path('/proc/self/autogroup').read_text())"
    )
    made = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=start_new_session,
    )
    return made.stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="Linux with autogroups")
def test_only_a_session_of_its_own_gives_way():
    assert told_by(start_new_session=True).endswith("nice 3")
    before = Path("/proc/self/autogroup").read_text()
    told_by(start_new_session=False)
    assert Path("/proc/self/autogroup").read_text() == before
