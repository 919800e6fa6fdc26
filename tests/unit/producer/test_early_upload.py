"""A piece of an upload is cut behind line ends, and nothing of it is lost or told twice."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from producer import early_upload
from producer.intake import IntakeLimits, LineReader, read_lines

_CONTENT = st.lists(
    st.sampled_from([b'{"prompt": "a"}', b"", b"  ", b"{", b"\xef\xbb\xbf", b"x" * 40]), max_size=12
).map(b"\n".join)


@given(st.lists(st.sampled_from([b"a", b"\n", b"bc\n"]), max_size=30), st.integers(1, 4))
def test_parts_are_the_piece_in_so_many_lines_at_most(words: list[bytes], most: int):
    piece = b"".join(words)
    parts = list(early_upload.parts_of(piece, most))
    assert b"".join(parts) == piece
    assert all(part.count(b"\n") <= most for part in parts)
    assert all(part.endswith(b"\n") for part in parts[:-1])
    assert all(part for part in parts)


@given(_CONTENT, st.lists(st.integers(0, 200), max_size=6))
def test_a_file_that_comes_by_and_by_has_the_lines_of_the_whole(content: bytes, cuts: list[int]):
    ends = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    with LineReader(IntakeLimits(30), ()) as reader:
        pieces = (content[a:b] for a, b in pairwise(ends))
        told = [line for piece in pieces for line in reader.ended_in(piece)]
        told += reader.rest()
    assert told == list(read_lines([content], IntakeLimits(30), ()))
