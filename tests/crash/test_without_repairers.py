"""Is each repairer needed? What a death at each fault point leaves behind stays broken while the
repairer named for it is switched off, with everything else at work, and is mended once it is back.

`make crash-proof` runs it (a quarter of an hour); docs/failure_modes.md shows the outcome. Each
mill goes on until nothing in it moves any more. Its reconciler looks every half second, also at
young reservations (`tests.servers.crippled_maintenance`), so that "not mended" is not "not yet".
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.fault_points import FaultPoint
from tests.crash import test_dying_while_filling as filling
from tests.crash import test_losing_the_api as api
from tests.crash import test_maintenance_fault_points as leaders
from tests.crash import test_worker_fault_points as workers
from tests.crash.invariants import check
from tests.crash.plant import Plant, on_databases
from tests.crash.receiver import Receiver
from tests.integration.producer import sdk
from worker.ledger_opening import purse_of

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("CRASH_WITHOUT_REPAIRERS"),
        reason="a quarter of an hour; make crash-proof",
    ),
    pytest.mark.timeout(600),
]

IN_AN_UPLOAD = {
    FaultPoint.AFTER_BATCH_ROW,
    FaultPoint.AFTER_BLOCK,
    FaultPoint.AFTER_START,
    FaultPoint.BEFORE_SEAL_COMMIT,
    FaultPoint.AFTER_SEAL,
    FaultPoint.AFTER_FILE_BATCH,
    FaultPoint.AFTER_INTAKE_CLAIM,
}
STILL_S = 8.0
"""Four leases of the workers that die, and longer than every other repairer's period."""

LOST_JOBS = "jobs without an end"
OPEN_CALLS = "calls left open"
RESERVED = "money reserved for ever"
CLOSED = "a closed ledger"
UNTOLD = "an event that is told to nobody"
UNDELIVERED = "a delivery that is not noted"
TWICE = "jobs answered twice"


@dataclass(frozen=True)
class Proof:
    """Killed at `point`, without the part of that name, this much stays broken."""

    point: FaultPoint
    without: str
    broken: frozenset[str]


def _proof(point: FaultPoint, without: str, *broken: str) -> Proof:
    return Proof(point, without, frozenset(broken))


PROOFS = [
    _proof(FaultPoint.AFTER_BATCH_ROW, "batch_closer", LOST_JOBS),
    _proof(FaultPoint.AFTER_BLOCK, "batch_closer", LOST_JOBS),
    _proof(FaultPoint.AFTER_START, "batch_closer", LOST_JOBS),
    _proof(FaultPoint.BEFORE_SEAL_COMMIT, "batch_closer", LOST_JOBS),
    _proof(FaultPoint.AFTER_SEAL, "job_stager", LOST_JOBS),
    _proof(FaultPoint.AFTER_FILE_BATCH, "file_intake", LOST_JOBS),
    _proof(FaultPoint.AFTER_INTAKE_CLAIM, "file_intake", LOST_JOBS),
    _proof(FaultPoint.AFTER_BLOCK, "file_intake", LOST_JOBS),
    _proof(FaultPoint.BEFORE_SEAL_COMMIT, "file_intake", LOST_JOBS),
    _proof(FaultPoint.AFTER_CLAIM, "job_rescuer", LOST_JOBS),
    _proof(FaultPoint.AFTER_RESERVE, "job_rescuer", LOST_JOBS),
    _proof(FaultPoint.AFTER_RESERVE, "ledger_reconciler", RESERVED),
    _proof(FaultPoint.BEFORE_INTENT_COMMIT, "job_rescuer", LOST_JOBS),
    _proof(FaultPoint.BEFORE_INTENT_COMMIT, "ledger_reconciler", RESERVED),
    _proof(FaultPoint.AFTER_INTENT, "job_rescuer", LOST_JOBS, OPEN_CALLS, RESERVED),
    _proof(FaultPoint.AFTER_CONFIRM, "job_rescuer", LOST_JOBS, OPEN_CALLS, RESERVED),
    _proof(FaultPoint.AFTER_REQUEST, "job_rescuer", LOST_JOBS, OPEN_CALLS, RESERVED),
    _proof(FaultPoint.AFTER_ANSWER, "job_rescuer", LOST_JOBS, OPEN_CALLS, RESERVED),
    _proof(FaultPoint.BEFORE_RECORDING, "job_rescuer", LOST_JOBS, OPEN_CALLS, RESERVED),
    _proof(FaultPoint.BEFORE_RECORDING_COMMIT, "job_rescuer", LOST_JOBS, OPEN_CALLS, RESERVED),
    _proof(FaultPoint.AFTER_RECORDING, "job_rescuer", LOST_JOBS),
    _proof(FaultPoint.AFTER_RECORDING, "ledger_reconciler", RESERVED),
    _proof(FaultPoint.AFTER_SETTLE, "job_rescuer", LOST_JOBS),
    _proof(FaultPoint.BEFORE_ACK, "claim", TWICE, OPEN_CALLS, RESERVED),
    _proof(FaultPoint.IN_REBUILD, "takeover", LOST_JOBS, CLOSED),
    _proof(FaultPoint.AFTER_STAGE_MARK, "job_stager", LOST_JOBS),
    _proof(FaultPoint.BEFORE_RESCUE_COMMIT, "job_rescuer", LOST_JOBS, OPEN_CALLS, RESERVED),
    _proof(FaultPoint.AFTER_RESCUE, "ledger_reconciler", RESERVED),
    _proof(FaultPoint.BEFORE_RELAY_COMMIT, "outbox_relay", UNTOLD),
    _proof(FaultPoint.AFTER_DELIVERY_CLAIM, "dispatcher", UNDELIVERED),
    _proof(FaultPoint.AFTER_DELIVERY, "dispatcher", UNDELIVERED),
]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path)
    yield receiver
    receiver.child.kill()


@pytest.mark.parametrize(("proof", "database_url"), on_databases(PROOFS), indirect=["database_url"])
def test_what_a_death_leaves_is_mended_by_its_repairer_alone(
    plant: Plant, request: pytest.FixtureRequest, proof: Proof
) -> None:
    plant.without = proof.without
    leader = next((case for case in leaders.CASES if case.point is proof.point), None)
    if leader is not None:
        receiver: Receiver = request.getfixturevalue("receiver")
        leaders.kill_the_leader(plant, receiver, leader)
    elif proof.point in IN_AN_UPLOAD:
        die_in_an_upload(plant, proof)
    elif proof.point is FaultPoint.IN_REBUILD:
        workers.rebuild_and_die(plant)
    else:
        (case,) = (case for case in workers.CASES if case.point is proof.point)
        workers.run_and_die(plant, f"{case.point.value}:{case.nth}")
    if CLOSED not in proof.broken:
        plant.wait_for(plant.ledger.epoch, "the other repairers are at work")
    wait_until_nothing_moves(plant)
    assert what_is_broken(plant) == proof.broken

    if TWICE in proof.broken:
        return  # paid for: no repairer brings that back
    plant.without = ""
    plant.pass_the_leadership_on()
    for child in plant.children:
        child.kill()
    plant.start_maintenance("whole")
    plant.start_worker("also-whole", threads=4, lease_s=30)
    if proof.without == "file_intake":
        plant.start_api("reading", lease_s=1)
    plant.wait_for(lambda: not what_is_broken(plant), "everything is mended")
    figures = check(plant)
    given_up = proof.without == "batch_closer" and proof.point is not FaultPoint.AFTER_START
    assert figures.completed == (0 if given_up else figures.jobs)


def die_in_an_upload(plant: Plant, proof: Proof) -> None:
    """An API process dies; the worker and the repairers go on, no other API process is there."""
    uploads = api.Uploads(plant)
    if proof.point is FaultPoint.AFTER_START:
        filling.die(plant, proof.point, 1, None)
    elif proof.without == "file_intake":
        content = sdk.lines(7, model="tiny", max_tokens=40)
        uploads.die(
            proof.point.value,
            lambda url: api.create_and_wait(uploads, url, uploads.file(url, content)),
        )
    else:
        uploads.die(proof.point.value, lambda url: uploads.submit(url, api.native(7)))
    uploads.close()
    plant.numbers = [row.number for row in plant.rows("SELECT number FROM batches")]
    plant.start_maintenance()
    plant.start_worker("worker")


def wait_until_nothing_moves(plant: Plant) -> None:
    seen: Any = None
    since = time.monotonic()

    def is_still() -> bool:
        nonlocal seen, since
        now = _state(plant)
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= STILL_S

    plant.wait_for(is_still, "nothing moves any more")


def _state(plant: Plant) -> Any:
    """Everything that moves on; claims of jobs that only wait come and go and are left out."""
    scopes = sorted(set(plant.ledger.scopes()), key=lambda scope: scope.text)
    return (
        plant.simulator.bill()["calls"],
        plant.rows("SELECT count(*) FROM results"),
        plant.rows("SELECT status, count(*) FROM attempts GROUP BY status ORDER BY status"),
        plant.rows("SELECT id, relayed_at FROM outbox ORDER BY id"),
        plant.rows("SELECT id, status, tries FROM webhook_deliveries ORDER BY id"),
        plant.ledger.epoch(),
        plant.ledger.balance(scopes),
    )


def what_is_broken(plant: Plant) -> frozenset[str]:
    """By what the mill did by itself: nothing is reconciled here first."""
    found: set[str] = set()
    if not all(map(plant.has_ended, plant.numbers)):
        found.add(LOST_JOBS)
    if plant.rows("SELECT id FROM attempts WHERE status = 'open'"):
        found.add(OPEN_CALLS)
    if plant.ledger.epoch() is None:
        found.add(CLOSED)
    if not _counters_agree(plant):
        found.add(RESERVED)
    if plant.rows("SELECT id FROM outbox WHERE relayed_at IS NULL"):
        found.add(UNTOLD)
    if plant.rows("SELECT id FROM webhook_deliveries WHERE status != 'delivered'"):
        found.add(UNDELIVERED)
    doubtful = len(plant.rows("SELECT id FROM attempts WHERE status = 'unconfirmed'"))
    jobs = sum(plant.batch(number).total for number in plant.numbers)
    if plant.simulator.bill()["calls"] > jobs + doubtful:
        found.add(TWICE)
    return frozenset(found)


def _counters_agree(plant: Plant) -> bool:
    for scope in set(plant.ledger.scopes()):
        (balance,) = plant.ledger.balance([scope])
        if balance is None:
            continue
        with plant.database.snapshot() as connection:
            purse = purse_of(connection, scope)
        if balance.reserved_nusd or balance.spent_nusd != purse.spent_nusd:
            return False
    return True
