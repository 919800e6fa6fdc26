"""Lines that ask the same are stored as duplicates of the first; a project's cache is set."""

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import select

from producer.blocks import LINES_PER_TRANSACTION
from producer.bootstrap import ProducerContext
from producer.options import Options
from producer.spool import Spool
from shared.db.repositories import batches, projects, staging
from shared.db.tables import jobs as jobs_table
from shared.domain.job import line_of


@pytest.fixture
def spool(context: ProducerContext) -> Iterator[Spool]:
    with context.spool() as spool:
        yield spool


def leaders(
    context: ProducerContext, spool: Spool, *lines: dict[str, Any], deduplicate: bool | None = None
) -> dict[int, int | None]:
    """Each line with the one it waits for."""
    spool.write(b"\n".join(orjson.dumps(line) for line in lines))
    options = Options("default", deduplicate=deduplicate)
    batch = context.submission.submit(spool, options).batch
    with context.database.reading() as connection:
        rows = connection.execute(
            select(jobs_table.c.id, jobs_table.c.duplicate_of).where(
                jobs_table.c.id.between(*batches.id_range(batch.number))
            )
        ).all()
    assert batch.duplicates == sum(row.duplicate_of is not None for row in rows)
    return {
        line_of(row.id): None if row.duplicate_of is None else line_of(row.duplicate_of)
        for row in rows
    }


def test_native_and_openai_lines_that_ask_the_same_are_asked_once(
    context: ProducerContext, spool: Spool
):
    message = {"content": "x", "role": "user"}
    found = leaders(
        context,
        spool,
        {"custom_id": "a", "prompt": "x"},
        {"custom_id": "b", "prompt": "y"},
        {
            "custom_id": "c",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "auto", "messages": [message], "metadata": {"k": "v"}},
        },
        {"prompt": "x", "max_tokens": 5},
        {"prompt": "y"},
    )
    assert found == {1: None, 2: None, 3: 1, 4: None, 5: 2}


@pytest.mark.parametrize(
    ("deduplicate", "expected"),
    [(None, [None, None, None, None, 3]), (True, [None, 1, None, None, 3]), (False, [None] * 5)],
)
def test_who_asks_for_variety_gets_it_unless_the_batch_says_otherwise(
    context: ProducerContext, spool: Spool, deduplicate: bool | None, expected: list[int | None]
):
    sampled = {"prompt": "x", "temperature": 1}
    plain = {"prompt": "x"}
    lines = (sampled, sampled, plain, {**plain, "cache": False}, plain)
    found = leaders(context, spool, *lines, deduplicate=deduplicate)
    assert list(found.values()) == expected


def test_duplicates_are_found_across_blocks_and_never_staged(
    context: ProducerContext, spool: Spool
):
    count = LINES_PER_TRANSACTION + 10
    spool.write(b"".join(b'{"prompt":"%d"}\n' % (i % (count - 5)) for i in range(count)))
    batch = context.submission.submit(spool, Options("default")).batch
    with context.database.reading() as connection:
        ids = staging.stageable(connection, batch.number, context.clock(), count)
        counts = batches.counts(connection, batch)
    assert len(ids) == count - 5
    assert (batch.duplicates, counts.queued) == (5, count)


def test_a_project_sets_and_empties_its_cache(api: httpx.Client, context: ProducerContext):
    assert api.get("/v1/cache").json() == {"object": "cache", "project": "default", "keep_s": None}
    assert api.put("/v1/cache", json={"keep_s": 60}).json()["keep_s"] == 60
    names = {_name(context)}
    api.put("/v1/cache", json={"keep_s": 60})
    names.add(_name(context))
    assert len(names) == 2
    assert api.put("/v1/cache", json={"keep_s": None}).json()["keep_s"] is None
    for wrong in ({}, {"keep_s": 0}, {"keep_s": "1h"}, {"keep_s": 10**9}, {"keep_s": 5, "x": 1}):
        assert api.put("/v1/cache", json=wrong).status_code == 400
    assert api.put("/v1/cache", json={"keep_s": 5, "project": "nobody"}).status_code == 404


def _name(context: ProducerContext) -> str:
    with context.database.reading() as connection:
        row = projects.get(connection, "default")
    assert row is not None
    return str(row.cache_name)
