"""Exports of more lines than one block holds: whole, in order, no transaction kept open."""

import csv
import io
from collections.abc import Iterator

import orjson
import pytest

from benchmarks.ended import ended_batch
from producer.bootstrap import ProducerContext
from producer.reporting.result_lines import Format
from producer.reporting.results import BLOCK_BYTES, OutputPart

LINES = 1_300


@pytest.fixture
def number(context: ProducerContext) -> int:
    return ended_batch(context.database, LINES)


def lines_of(blocks: Iterator[bytes]) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in b"".join(blocks).splitlines()]


def test_a_long_export_is_whole_and_in_order(context: ProducerContext, number: int):
    wanted = [f"line-{i}" for i in range(1, LINES + 1)]
    blocks = list(context.results.stream(number, Format.JSONL))
    assert len(blocks) > 1
    assert all(len(block) < 2 * BLOCK_BYTES for block in blocks)
    assert [line["custom_id"] for line in lines_of(iter(blocks))] == wanted
    output = lines_of(context.results.output(number, OutputPart.OUTPUT))
    assert [line["custom_id"] for line in output] == wanted
    assert not list(context.results.output(number, OutputPart.ERROR))
    table = b"".join(context.results.stream(number, Format.CSV)).decode()
    assert [row["custom_id"] for row in csv.DictReader(io.StringIO(table))] == wanted


def test_a_page_has_as_many_lines_as_were_asked_for(context: ProducerContext, number: int):
    for limit in (1, 199, 200, 201, LINES - 10, LINES):
        page = lines_of(context.results.stream(number, Format.JSONL, after=10, limit=limit))
        assert [line["line"] for line in page] == list(range(11, 11 + min(limit, LINES - 10)))


def test_no_connection_is_held_while_the_reader_is_slow(context: ProducerContext, number: int):
    pool = context.database.engine.pool
    blocks = context.results.stream(number, Format.JSONL)
    next(blocks)
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
    next(blocks)
    assert pool.checkedout() == 0  # type: ignore[attr-defined]
