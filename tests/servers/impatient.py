"""A worker (`celery -A`) or the maintenance (`python -m`) that waits no longer than a second for
SQLite's lock, and that PostgreSQL lets hang in a transaction for no more than two. The worker
begins no job beyond its slots for calls.
"""

import sys

from shared.db import engine
from worker import call_slots

call_slots._MOST_BEGUN = 1  # type: ignore[misc]
engine._BUSY_TIMEOUT_S = 1
engine._IDLE_IN_TRANSACTION_S = 2

if __name__ == "__main__":
    from worker.maintenance.__main__ import main

    sys.exit(main())
else:
    from worker.app import app

    __all__ = ["app"]
