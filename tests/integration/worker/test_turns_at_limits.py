"""Who is sent away by a provider's limit takes one of its turns, however many models it may ask."""

import math
from itertools import pairwise
from pathlib import Path

from redis import Redis

from tests.mill import asking, running_mill
from tests.servers.simulator import SimulatorServer
from worker.providers.registry import key_id_of
from worker.providers.throttle import PREFIX

MODELS = {
    "tiny": ("acme", "cheap", "0.20", "1.20", "0.02"),
    "tiny-too": ("acme", "cheap", "0.21", "1.21", "0.02"),
    "tiny-as-well": ("acme", "cheap", "0.22", "1.22", "0.02"),
}
TURN_US = 60_000_000


def test_a_job_that_a_limit_sends_away_takes_one_turn_of_the_provider_not_one_for_each_model(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
) -> None:
    key_id = key_id_of("acme", "key-of-acme")
    with (
        running_mill(
            tmp_path, database_url, redis_url, simulator, provider_extras="rpm = 1", models=MODELS
        ) as mill,
        Redis.from_url(redis_url) as redis,
    ):
        mill.worker.runner.run(mill.batch([asking("What is two and two?", model="cheap")]))
        assert mill.statuses() == {"completed": 1}

        use = mill.worker._in_loop.caller._throttle._uses[key_id]
        use.full_until, use.waiting = math.inf, 1_000_000  # as with a crowd before the limit
        turns = []
        for _ in range(3):
            mill.worker.runner.run(mill.batch([asking("What is it?", model="cheap")]))
            turns.append(int(redis.hget(f"{PREFIX}rate:{key_id}", "f") or 0))

        assert simulator.bill()["calls"] == 1
        for turn, next_turn in pairwise(turns):
            assert 0.8 * TURN_US <= next_turn - turn <= 1.1 * TURN_US
