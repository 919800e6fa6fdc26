"""How much of each batch may go out now: interactive first, then who has least out. No I/O."""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lane:
    """A batch with jobs to send. turn: when it was last given room (0: never)."""

    number: int
    project_id: str
    interactive: bool
    out: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A project's jobs that are out in messages, and when it was last given room (0: never)."""

    out: int = 0
    turn: int = 0


def shares(
    lanes: Sequence[Lane],
    standings: Mapping[str, Standing],
    *,
    project_window: int,
    total_window: int,
    chunk_size: int,
) -> list[tuple[int, int]]:
    """(batch, jobs it may send), interactive batches first and without a window.

    The room that is left in total (of which the jobs of all `standings` are taken off) is given
    out a chunk at a time: to the project that has least out, within it to the batch that has least
    out; of several alike to the one that has waited longest for its turn. So nobody's first chunk
    waits for another's second, also where many crowds keep the room full and only a chunk's worth
    becomes free at a time.
    """
    given = [(lane.number, project_window) for lane in lanes if lane.interactive]
    queues: dict[str, list[tuple[int, int, int]]] = {}
    for lane in lanes:
        if not lane.interactive:
            queues.setdefault(lane.project_id, []).append((lane.out, lane.turn, lane.number))
    projects = []
    for place, (project, batches) in enumerate(queues.items()):
        heapq.heapify(batches)
        standing = standings.get(project, Standing())
        projects.append((standing.out, standing.turn, place, project))
    heapq.heapify(projects)
    total = total_window - sum(standing.out for standing in standings.values())
    limits: dict[int, int] = {}
    while total >= chunk_size and projects:
        out, turn, place, project = projects[0]
        if project_window - out < chunk_size:
            break  # the one with least out is full, so all are
        batch_out, batch_turn, number = queues[project][0]
        limits[number] = limits.get(number, 0) + chunk_size
        total -= chunk_size
        heapq.heapreplace(queues[project], (batch_out + chunk_size, batch_turn, number))
        heapq.heapreplace(projects, (out + chunk_size, turn, place, project))
    return given + list(limits.items())


class Turns:
    """Who was given room when; forgets those that run no more."""

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[int | str, int] = {}

    def last(self, batch_or_project: int | str) -> int:
        """The turn in which a batch (by number) or a project was given room; 0 where never."""
        return self._last.get(batch_or_project, 0)

    def note(self, served: Iterable[int | str], running: Collection[int | str]) -> None:
        """These were given room now; only those that run are remembered."""
        self._now += 1
        self._last |= dict.fromkeys(served, self._now)
        for gone in self._last.keys() - set(running):
            del self._last[gone]
