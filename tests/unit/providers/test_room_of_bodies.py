"""What waits for its answer takes as much memory as it has bytes."""

import tracemalloc

from worker.providers.messages import dump

BYTES = 9_000


def test_a_request_takes_no_more_room_than_its_bytes() -> None:
    body = {"messages": [{"role": "user", "content": "x" * BYTES}]}
    tracemalloc.start()
    try:
        bodies = [dump(body) for _ in range(20)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / len(bodies) < 1.2 * BYTES
