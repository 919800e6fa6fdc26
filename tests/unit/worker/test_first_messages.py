"""Which deliveries may go on before they are claimed."""

from types import SimpleNamespace
from typing import Any

import pytest

from shared.queue.messages import IS_FIRST
from worker.tasks import is_first


@pytest.mark.parametrize(
    ("headers", "delivery", "expected"),
    [
        ({IS_FIRST: True}, {"redelivered": False}, True),
        ({IS_FIRST: True}, {}, True),
        ({IS_FIRST: True}, {"redelivered": True}, False),
        ({IS_FIRST: "true"}, {}, False),
        ({}, {"redelivered": False}, False),
        (None, None, False),
    ],
)
def test_only_a_first_message_that_is_delivered_once_is_the_first(
    headers: Any, delivery: Any, expected: bool
) -> None:
    assert is_first(SimpleNamespace(headers=headers, delivery_info=delivery)) is expected
