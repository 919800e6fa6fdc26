"""How much of each batch may go out now: interactive first, projects alike, batches alike. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lane:
    """A batch with jobs to send."""

    number: int
    project_id: str
    interactive: bool


def shares(
    lanes: Sequence[Lane],
    staged_by_project: Mapping[str, int],
    *,
    project_window: int,
    total_window: int,
    chunk_size: int,
) -> list[tuple[int, int]]:
    """(batch, jobs it may send), interactive batches first and without a window.

    The room that is left in total is given out a chunk at a time, in turn over the projects and
    within a project in turn over its batches, until each is full: nobody's first chunk waits for
    another's second.
    """
    given = [(lane.number, project_window) for lane in lanes if lane.interactive]
    queues: dict[str, list[int]] = {}
    for lane in lanes:
        if not lane.interactive:
            queues.setdefault(lane.project_id, []).append(lane.number)
    room = {p: project_window - staged_by_project.get(p, 0) for p in queues}
    total = total_window - sum(staged_by_project.values())
    limits: dict[int, int] = {}
    turn = 0
    while total >= chunk_size and any(left >= chunk_size for left in room.values()):
        for project, numbers in queues.items():
            if room[project] >= chunk_size and total >= chunk_size:
                number = numbers[turn % len(numbers)]
                limits[number] = limits.get(number, 0) + chunk_size
                room[project] -= chunk_size
                total -= chunk_size
        turn += 1
    return given + list(limits.items())
