from hypothesis import given
from hypothesis import strategies as st

from shared.domain.batch import Priority
from shared.queue.lanes import ALL_QUEUES, BATCH_QUEUES, INTERACTIVE_QUEUE, lane_queue


@given(st.text(max_size=64))
def test_every_project_has_one_lane_of_the_known_ones(project: str) -> None:
    assert lane_queue(project, Priority.BATCH) in BATCH_QUEUES
    assert lane_queue(project, Priority.BATCH) == lane_queue(project, Priority.BATCH)


def test_a_lane_stays_the_same_from_version_to_version() -> None:
    assert lane_queue("default", Priority.BATCH) == "promptmill.batch.7"


def test_projects_spread_over_all_lanes() -> None:
    assert {lane_queue(f"project-{n}", Priority.BATCH) for n in range(200)} == set(BATCH_QUEUES)


def test_interactive_work_has_a_queue_of_its_own() -> None:
    assert lane_queue("default", Priority.INTERACTIVE) == INTERACTIVE_QUEUE
    assert INTERACTIVE_QUEUE in ALL_QUEUES
    assert INTERACTIVE_QUEUE not in BATCH_QUEUES
