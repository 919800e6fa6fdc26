"""What calls the repairers: each kind of thing that some repairer has to do is seen, and goes."""

from shared.db.engine import Database
from shared.db.repositories.errands import Errand, errands
from tests.integration.repair.mill import NOW, Mill
from worker.maintenance.outbox_relay import OutboxRelay
from worker.maintenance.outcome_summer import OutcomeSummer


def _errands(database: Database) -> frozenset[Errand]:
    with database.reading() as connection:
        return errands(connection)


def test_an_idle_mill_has_no_errands_and_a_batch_has_some_until_all_is_done(
    mill: Mill, database: Database
):
    assert _errands(database) == frozenset()
    number = mill.batch(1)
    assert _errands(database) == {Errand.OPEN_BATCHES}
    mill.finish(number, mill.claim(number, 1), 1)
    assert _errands(database) == {Errand.EVENTS, Errand.ENDED_BATCHES}
    OutboxRelay(database).run_once(NOW)
    assert _errands(database) == {Errand.ENDED_BATCHES}
    OutcomeSummer(database).run_once(NOW)
    assert _errands(database) == frozenset()
