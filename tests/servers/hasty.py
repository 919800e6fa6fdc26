"""A worker (`celery -A`) or the maintenance (`python -m`) that waits a second for Redis's answers
instead of five, and notices within seconds that it consumes nothing though work waits.
"""

import sys

from shared import redis_client
from worker.deafness import Deafness, DeafnessWatch

redis_client.COMMAND_TIMEOUT_S = 1
Deafness.__init__.__defaults__ = (3.0,)
for function, name, seconds in (
    (redis_client.connect, "timeout_s", 1.0),
    (DeafnessWatch.__init__, "every_s", 0.5),
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
