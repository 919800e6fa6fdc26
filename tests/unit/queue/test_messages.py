from typing import Any

import pytest

from shared.errors import UsageError
from shared.queue.messages import MAX_LINES_TEXT, ChunkMessage

MESSAGE = ChunkMessage("batch_1", 7, "1-100,107")


def test_a_message_reads_back_as_it_was_written() -> None:
    assert ChunkMessage.parse(MESSAGE.as_kwargs()) == MESSAGE


def test_flower_shows_batch_and_lines_first() -> None:
    assert list(MESSAGE.as_kwargs())[:2] == ["batch", "lines"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2),
        ("v", "1"),
        ("batch", ""),
        ("batch", "x" * 65),
        ("batch", "a b"),
        ("batch", None),
        ("batch_number", 0),
        ("batch_number", True),
        ("batch_number", 2**63),
        ("lines", ""),
        ("lines", "1;2"),
        ("lines", "1" * (MAX_LINES_TEXT + 1)),
        ("prompt", "Tell me"),
    ],
)
def test_a_foreign_message_is_refused_naming_the_field_and_not_the_content(
    field: str, value: Any
) -> None:
    with pytest.raises(UsageError) as refused:
        ChunkMessage.parse(MESSAGE.as_kwargs() | {field: value})
    assert field in refused.value.message
    assert "Tell me" not in refused.value.message


@pytest.mark.parametrize("field", ["v", "batch", "batch_number", "lines"])
def test_no_field_may_be_missing(field: str) -> None:
    kwargs = MESSAGE.as_kwargs()
    del kwargs[field]
    with pytest.raises(UsageError, match=field):
        ChunkMessage.parse(kwargs)
