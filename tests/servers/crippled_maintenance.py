"""The maintenance without one of its parts, which `CRASH_WITHOUT` names; empty: with all of them.

For the proof that each repairer is needed. Its reconciler looks often and at young reservations
too, and uploads are lost after two seconds, so that a test need not wait its minute and a half, or
quarter of an hour, to see that they are, or are not, at work.
"""

import os
import sys
from datetime import timedelta
from typing import Any

from shared.budget.ledger import Ledger
from shared.db.engine import Database
from shared.settings import Settings
from worker.maintenance import __main__ as maintenance
from worker.maintenance import batch_closer
from worker.maintenance.ledger_reconciler import LedgerReconciler
from worker.maintenance.rounds import Round

WITHOUT = os.environ.get("CRASH_WITHOUT", "")
TAKEOVER = "takeover"
DISPATCHER = "dispatcher"
FILE_INTAKE = "file_intake"
"""A part of every API process: left out by starting none."""
CLAIM = "claim"
_NEVER_S = 1e9
_whole = maintenance.rounds_of


def rounds_of(settings: Settings, database: Database, **others: Any) -> list[Round]:
    # Where a worker's rebuild is to die, nobody else should be the first to begin one.
    hurries = () if WITHOUT == TAKEOVER else ("ledger_reconciler",)
    rounds = [
        Round(r.name, r.repairer, 0.5, 0.5, rests=False) if r.name in hurries else r
        for r in _whole(settings, database, **others)
    ]
    if WITHOUT not in {r.name for r in rounds} | {"", TAKEOVER, DISPATCHER, CLAIM, FILE_INTAKE}:
        raise RuntimeError(f"no such part: {WITHOUT}")
    return [r for r in rounds if r.name != WITHOUT]


def never_take_over() -> None:
    """An abandoned rebuild stays abandoned."""
    defaults = Ledger.begin_rebuild.__kwdefaults__
    assert defaults is not None
    defaults["abandoned_after_s"] = _NEVER_S


def _look_at_young_reservations() -> None:
    defaults = LedgerReconciler.__init__.__kwdefaults__
    assert defaults is not None
    defaults["old_after_s"] = 1.0


def _deliver_nothing(_: maintenance.Maintenance) -> None:
    """Instead of the dispatcher's thread."""


maintenance.rounds_of = rounds_of
batch_closer.UPLOAD_LOST_AFTER = timedelta(seconds=2)
_look_at_young_reservations()
if WITHOUT == TAKEOVER:
    never_take_over()
if WITHOUT == DISPATCHER:
    maintenance.Maintenance._deliver = _deliver_nothing  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(maintenance.main())
