"""Room goes to whoever has least out, so that nobody waits for another's crowd."""

from hypothesis import given
from hypothesis import strategies as st

from worker.maintenance.fairness import Lane, Standing, Turns, shares

CHUNK = 10


def given_room(lanes: list[Lane], out: dict[str, Standing], *, window: int = 4, total: int = 32):
    return dict(
        shares(
            lanes, out, project_window=window * CHUNK, total_window=total * CHUNK, chunk_size=CHUNK
        )
    )


def test_a_full_house_gives_the_next_free_chunk_to_whoever_has_nothing_out():
    crowds = [Lane(n, f"crowd-{n}", interactive=False, out=40, turn=5) for n in range(1, 9)]
    small = Lane(9, "small", interactive=False)
    out = {lane.project_id: Standing(40, 5) for lane in crowds}
    assert given_room([*crowds, small], out) == {}
    out["crowd-1"] = Standing(30, 5)
    assert given_room([*crowds, small], out) == {9: CHUNK}


def test_a_projects_new_batch_gets_the_next_free_chunk_of_its_window():
    old = Lane(1, "acme", interactive=False, out=30, turn=8)
    new = Lane(2, "acme", interactive=False)
    assert given_room([old, new], {"acme": Standing(30, 8)}) == {2: CHUNK}


def test_more_projects_than_room_are_served_in_turn():
    turns, served = Turns(), []
    names = [f"p{n}" for n in range(7)]
    for _ in range(7):
        lanes = [
            Lane(n, name, interactive=False, turn=turns.last(n))
            for n, name in enumerate(names, start=1)
        ]
        standings = {name: Standing(0, turns.last(name)) for name in names}
        room = given_room(lanes, standings, total=1)
        (number,) = room
        served.append(number)
        turns.note([number, names[number - 1]], [*names, *range(1, 8)])
    assert sorted(served) == list(range(1, 8))


def test_what_runs_no_more_is_forgotten():
    turns = Turns()
    turns.note([1, "a"], [1, "a"])
    turns.note([2], [2])
    assert [turns.last(name) for name in (1, "a", 2)] == [0, 0, 2]


@given(
    batches=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(0, 9)), min_size=1, max_size=20
    ),
    window=st.integers(1, 8),
    total=st.integers(1, 40),
)
def test_room_is_never_exceeded_and_never_left_where_somebody_could_use_it(
    batches: list[tuple[int, int, int]], window: int, total: int
):
    lanes = [
        Lane(number, f"p{project}", interactive=False, out=out, turn=turn)
        for number, (project, out, turn) in enumerate(batches, start=1)
    ]
    out: dict[str, int] = {}
    for lane in lanes:
        out[lane.project_id] = out.get(lane.project_id, 0) + lane.out
    standings = {project: Standing(jobs) for project, jobs in out.items()}
    room = given_room(lanes, standings, window=window, total=total)
    after = dict(out)
    for lane in lanes:
        after[lane.project_id] += room.get(lane.number, 0)
    grew = {project for project in after if after[project] > out[project]}
    assert all(after[project] <= window * CHUNK for project in grew)
    assert sum(after.values()) <= max(total * CHUNK, sum(out.values()))
    full = sum(after.values()) > (total - 1) * CHUNK
    assert full or all(jobs > (window - 1) * CHUNK for jobs in after.values())
    # Nobody was given a chunk while another, who has room, would still have less with one more.
    for project in grew:
        assert all(
            after[project] - CHUNK <= jobs or jobs > (window - 1) * CHUNK for jobs in after.values()
        )
