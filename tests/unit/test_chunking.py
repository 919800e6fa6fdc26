"""Chunks keep every id once, and range texts survive the way through a queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chunking import chunks_of, parse_ranges, ranges_text

LINES = st.sets(st.one_of(st.integers(1, 300), st.integers(1, 2**24 - 1)), min_size=1, max_size=200)


@given(LINES)
def test_lines_come_back_from_their_range_text(lines: set[int]) -> None:
    assert parse_ranges(ranges_text(lines), limit=200) == tuple(sorted(lines))


@given(st.lists(st.integers(), max_size=300), st.integers(1, 50))
def test_chunks_keep_every_id_in_order(ids: list[int], size: int) -> None:
    chunks = list(chunks_of(iter(ids), size))
    assert [i for chunk in chunks for i in chunk] == ids
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(1 <= len(chunk) <= size for chunk in chunks)


@given(st.text(alphabet="0123456789-, x", max_size=30))
def test_whatever_is_parsed_is_within_the_limit_or_refused(text: str) -> None:
    try:
        lines = parse_ranges(text, limit=50)
    except ValueError:
        return
    assert len(lines) <= 50
    assert list(lines) == sorted(set(lines))
    assert parse_ranges(ranges_text(lines), limit=50) == lines


def test_neighbours_are_written_as_one_range() -> None:
    assert ranges_text([7, 2, 1, 3, 3]) == "1-3,7"
    assert ranges_text(range(1, 101)) == "1-100"
    assert ranges_text([]) == ""


@pytest.mark.parametrize(
    "text",
    ["", ",", "1,", "-3", "1-", "3-1", "1-3,2", "1,1", "0", "0-4", "01", "1 ", "a", "1--2", "1\n",
     "\u0661", "1-2-3", "99999999999"],
)  # fmt: skip
def test_a_malformed_range_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="range"):
        parse_ranges(text, limit=1000)


def test_more_lines_than_allowed_are_refused_before_they_are_spelled_out() -> None:
    with pytest.raises(ValueError, match="more than 1000 lines"):
        parse_ranges("1-9999999999", limit=1000)
    with pytest.raises(ValueError, match="more than 3 lines"):
        parse_ranges("1-2,4-5", limit=3)
    with pytest.raises(ValueError, match="not a list"):
        parse_ranges("1," * 100_000 + "1", limit=3)


def test_a_chunk_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        list(chunks_of([1], 0))


def test_a_line_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        ranges_text([0, 1])
