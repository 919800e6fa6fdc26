"""A worker (`celery -A`) or the maintenance (`python -m`) that waits a second for Redis's answers
instead of five; the one notices within seconds that it consumes nothing though work waits, the
other leads for three seconds instead of ten after it was last heard of.
"""

import sys

from shared import redis_client
from worker.deafness import Deafness, DeafnessWatch
from worker.maintenance.leadership import Leadership

redis_client.COMMAND_TIMEOUT_S = 1
Deafness.__init__.__defaults__ = (3.0,)
for function, name, seconds in (
    (redis_client.connect, "timeout_s", 1.0),
    (DeafnessWatch.__init__, "every_s", 0.5),
    (Leadership.__init__, "lease_s", 3.0),
):
    defaults = function.__kwdefaults__
    assert defaults is not None
    assert name in defaults
    defaults[name] = seconds

if __name__ == "__main__":
    from worker.maintenance.__main__ import main

    sys.exit(main())
else:
    from worker.app import app

    __all__ = ["app"]
