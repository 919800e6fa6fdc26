"""Many rows in one statement, on both databases: the same as SQLAlchemy's own, row by row."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select

from shared.db.bulk import add_rows, among, gathered, insert_rows, listed, together, update_rows
from shared.db.engine import Connection, Database
from shared.db.tables import attempts, outbox, spend

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    database = Database(database_url)
    with database.transaction() as connection:
        yield connection
    database.close()


def event(name: str, **changes: object) -> dict[str, object]:
    row = {"id": name, "project_id": "p", "type": "t", "data": {"é": [1, None, '"\\']}}
    return {**row, "created_at": NOON, "relayed_at": None, **changes}


def attempt(name: str, status: str = "open", **changes: object) -> dict[str, object]:
    row = {"id": name, "job_id": 2**40, "project_id": "p", "ordinal": 1, "purpose": "answer"}
    model = {"rung": 0, "model": "m", "provider": "x", "tier": "cheap", "key_id": "k"}
    money = {"reserved_nusd": 5, "day": "2026-11-21", "month": "2026-11", "started_at": NOON}
    ended = None if status == "open" else NOON
    return {**row, **model, **money, "status": status, "ended_at": ended, **changes}


def test_values_come_back_and_compare_as_those_written_row_by_row(connection: Connection):
    insert_rows(connection, outbox, [event("bulk")])
    connection.execute(outbox.insert(), [event("single")])
    query = select(outbox.c.data, outbox.c.created_at, outbox.c.relayed_at)
    rows = connection.execute(query.where(outbox.c.created_at == NOON)).all()
    assert len(rows) == 2
    assert rows[0] == rows[1]
    assert rows[0] == ({"é": [1, None, '"\\']}, NOON, None)


def test_a_time_of_another_zone_is_the_same_moment(connection: Connection):
    abroad = NOON.astimezone(timezone(timedelta(hours=9)))
    insert_rows(connection, outbox, [event("abroad", created_at=abroad)])
    assert connection.execute(select(outbox.c.created_at)).scalar_one() == NOON


def test_a_time_without_a_zone_is_refused(connection: Connection):
    with pytest.raises(ValueError, match="naive"):
        insert_rows(connection, outbox, [event("naive", created_at=NOON.replace(tzinfo=None))])


def test_rows_that_are_there_already_are_left_alone(connection: Connection):
    insert_rows(connection, attempts, [attempt("a", reserved_nusd=7)], known="id")
    insert_rows(connection, attempts, [attempt("a"), attempt("b")], known="id")
    rows = connection.execute(select(attempts.c.id, attempts.c.reserved_nusd)).all()
    assert sorted(rows) == [("a", 7), ("b", 5)]


def test_only_rows_of_the_status_are_updated(connection: Connection):
    insert_rows(connection, attempts, [attempt("a"), attempt("b", "free"), attempt("c")])
    changed = [
        {"id": name, "status": "billed", "cost_nusd": cost, "ended_at": NOON}
        for name, cost in (("a", 1), ("b", 2))
    ]
    update_rows(connection, attempts, changed, key="id", status="open")
    rows = connection.execute(select(attempts.c.id, attempts.c.status, attempts.c.cost_nusd))
    assert sorted(rows) == [("a", "billed", 1), ("b", "free", 0), ("c", "open", 0)]


@pytest.mark.parametrize("many", [1, 2, 3, 255, 256, 1_001])
def test_any_number_of_rows_is_inserted_and_updated_whole(connection: Connection, many: int):
    names = [f"{number:04}" for number in range(many)]
    insert_rows(connection, attempts, [attempt(name) for name in names])
    changed = [
        {"cost_nusd": int(name), "status": "billed", "id": name, "ended_at": NOON} for name in names
    ]
    update_rows(connection, attempts, changed, key="id", status="open")
    query = select(attempts.c.id, attempts.c.status, attempts.c.cost_nusd).order_by(attempts.c.id)
    expected = [(name, "billed", int(name)) for name in names]
    assert [tuple(row) for row in connection.execute(query)] == expected


def test_sums_are_added_to_those_that_are_there(connection: Connection):
    def sums(period: str, spent: int, unconfirmed: int) -> dict[str, object]:
        key = {"project_id": "p", "kind": "day", "period": period}
        return {**key, "spent_nusd": spent, "unconfirmed_nusd": unconfirmed}

    add_rows(connection, spend, [sums("2026-11-21", 5, 0)])
    add_rows(connection, spend, [sums("2026-11-21", 2, 1), sums("2026-11-22", 3, 3)])
    query = select(spend.c.period, spend.c.spent_nusd, spend.c.unconfirmed_nusd)
    found = sorted(tuple(row) for row in connection.execute(query))
    assert found == [("2026-11-21", 7, 1), ("2026-11-22", 3, 3)]


def test_rows_are_gathered_as_they_are_read_one_by_one(connection: Connection):
    names = ["", "é'\"\\\n", "\U0001f600"]
    rows = [attempt(name, job_id=2**62 + place) for place, name in enumerate(names)]
    insert_rows(connection, attempts, rows)
    query = select(attempts.c.job_id, attempts.c.id, attempts.c.finish_reason).where(
        among(connection, attempts.c.id, "ids")
    )
    found = gathered(connection, together(connection, query), {"ids": listed(connection, names)})
    assert sorted(found) == [(2**62 + place, name, None) for place, name in enumerate(names)]
    assert gathered(connection, together(connection, query), {"ids": listed(connection, [])}) == []


@pytest.mark.parametrize("wanted", [[], ["a"], ["a", "c", "unknown"]])
def test_a_column_is_among_texts(connection: Connection, wanted: list[str]):
    insert_rows(connection, attempts, [attempt(name) for name in "abc"])
    query = select(attempts.c.id).where(among(connection, attempts.c.id, "ids"))
    found = connection.execute(query, {"ids": listed(connection, wanted)}).scalars()
    assert set(found) == set(wanted) & set("abc")


def test_a_column_is_among_numbers(connection: Connection):
    insert_rows(connection, attempts, [attempt(str(i), job_id=2**40 + i) for i in range(3)])
    query = select(attempts.c.job_id).where(among(connection, attempts.c.job_id, "ids"))
    wanted = [2**40, 2**40 + 2, 7]
    found = connection.execute(query, {"ids": listed(connection, wanted)}).scalars()
    assert sorted(found) == [2**40, 2**40 + 2]


def test_no_rows_are_no_statement(connection: Connection):
    insert_rows(connection, outbox, [])
    update_rows(connection, attempts, [], key="id", status="open")
    assert connection.execute(select(outbox)).all() == []
