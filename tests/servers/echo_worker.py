"""A Celery app under the real configuration whose one task notes what it was given in Redis.

The queue's settings can so be tested by real workers without a database or a provider.
"""

import json
import os
from typing import Any

from shared.queue.celery_app import RUN_CHUNK, make_celery_app
from shared.redis_client import connect
from shared.settings import Settings

SEEN = "echo:seen"
GATE = "echo:gate"
"""While this key holds a batch's id, its chunks wait."""

settings = Settings(_env_file=None)
app = make_celery_app(settings)
app.conf.worker_consumer = "worker.consumer:CalmConsumer"  # as `worker.app` has it


@app.task(name=RUN_CHUNK)  # type: ignore[untyped-decorator]
def run_chunk(**kwargs: Any) -> None:
    with connect(settings) as client:
        while client.get(GATE) == kwargs["batch"].encode():
            client.blpop(["echo:never"], timeout=0.05)
        client.rpush(SEEN, json.dumps(kwargs | {"worker": os.getpid()}))
