"""Framing of events, however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.providers.errors import MaybeBilled
from worker.providers.server_sent_events import Event, EventReader

STREAM = (
    b": a comment\n\n"
    b"event: first\r\ndata: one\r\ndata: two\r\n\r\n"
    b"data:three\r\rid: 7\nretry: 5\ndata: f\xc3\xb6ur\n\n"
    b"data: unfinished"
)
EVENTS = [Event("first", b"one\ntwo"), Event("", b"three"), Event("", b"f\xc3\xb6ur")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_however_the_bytes_arrive(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader()
    parts = [STREAM[a:b] for a, b in pairwise(places)]
    assert [event for part in parts for event in reader.feed(part)] == EVENTS


def test_an_endless_line_is_refused() -> None:
    reader = EventReader()
    assert list(reader.feed(b"x" * 1024 * 1024)) == []
    with pytest.raises(MaybeBilled):
        list(reader.feed(b"x" * 8 * 1024 * 1024))
