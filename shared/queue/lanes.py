"""Which queue a project's chunks wait in. Pure.

Batches are spread over lanes by project, and a worker takes from its lanes in turn: a project
with a million jobs fills one lane and leaves the others free. Two projects may share a lane.
Interactive jobs have a queue and workers of their own, so they never wait behind batches.
"""

from zlib import crc32

from shared.domain.batch import Priority

LANES = 8
INTERACTIVE_QUEUE = "promptmill.interactive"
BATCH_QUEUES = tuple(f"promptmill.batch.{lane}" for lane in range(LANES))
ALL_QUEUES = (INTERACTIVE_QUEUE, *BATCH_QUEUES)


def lane_queue(project_id: str, priority: Priority) -> str:
    """The queue for a project's chunk; the same for the same project on every machine."""
    if priority is Priority.INTERACTIVE:
        return INTERACTIVE_QUEUE
    return BATCH_QUEUES[crc32(project_id.encode()) % LANES]
