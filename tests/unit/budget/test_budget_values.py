"""Scopes, requests and calendar windows: pure values."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.budget.model import Balance, ReserveRequest, Scope, ScopeKind
from shared.budget.windows import periods, scopes_for
from shared.domain.money import MAX_NUSD
from tests.unit.budget.ledger_steps import BATCH, DAY, TOTAL

NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True)


@given(name=NAMES, moment=st.datetimes(timezones=st.just(UTC)))
def test_every_scope_reads_back_from_its_text(name: str, moment: datetime) -> None:
    for scope in scopes_for(name, name, moment):
        assert Scope.parse(scope.text) == scope


def test_scopes_are_written_as_people_would_say_them() -> None:
    moment = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert [scope.text for scope in scopes_for("acme", "batch_1", moment)] == [
        "day:acme:2026-11-21",
        "month:acme:2026-11",
        "total:acme",
        "batch:batch_1",
    ]
    assert len(scopes_for("acme", None, moment)) == 3


def test_periods_change_at_midnight_utc_wherever_the_clock_stands() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert periods(datetime(2026, 12, 1, 8, 59, tzinfo=tokyo)) == ("2026-11-30", "2026-11")
    assert periods(datetime(2026, 12, 1, 9, 0, tzinfo=tokyo)) == ("2026-12-01", "2026-12")
    with pytest.raises(ValueError, match="time zone"):
        periods(datetime(2026, 12, 1))  # noqa: DTZ001 - the case at hand


@pytest.mark.parametrize(
    ("kind", "key", "period"),
    [
        (ScopeKind.DAY, "acme", "2026-11"),
        (ScopeKind.TOTAL, "acme", "2026-11"),
        (ScopeKind.BATCH, "", ""),
        (ScopeKind.BATCH, "a,b", ""),
        (ScopeKind.BATCH, "a|b", ""),
        (ScopeKind.BATCH, "a:b", ""),
        (ScopeKind.BATCH, "a\n", ""),
    ],
)
def test_a_scope_that_could_be_misread_is_refused(kind: ScopeKind, key: str, period: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        Scope(kind, key, period)


@pytest.mark.parametrize("text", ["", "week:a", "total:a:", "batch:a:b", "day:acme"])
def test_other_texts_are_no_scope(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        Scope.parse(text)


# Fixed: every test process must collect the same names.
AN_ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("attempt_id", "scopes", "amount"),
    [
        ("short", (DAY,), 1),
        (AN_ID.upper() + "G", (DAY,), 1),
        (AN_ID, (), 1),
        (AN_ID, (DAY, DAY), 1),
        (
            AN_ID,
            (DAY, TOTAL, BATCH, *(Scope(ScopeKind.KEY, key) for key in "abc")),
            1,
        ),
        (AN_ID, (DAY,), -1),
        (AN_ID, (DAY,), MAX_NUSD + 1),
        (AN_ID, (DAY,), True),
    ],
)
def test_a_request_the_ledger_could_not_count_is_refused(
    attempt_id: str, scopes: tuple[Scope, ...], amount: int
) -> None:
    with pytest.raises(ValueError, match=r"must be|needs"):
        ReserveRequest(attempt_id, scopes, amount)


def test_an_unlimited_balance_has_no_remainder() -> None:
    assert Balance(DAY, None, 5, 5).remaining_nusd is None
    assert Balance(DAY, 12, 5, 5).remaining_nusd == 2
