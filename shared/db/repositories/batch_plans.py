"""What was expected of a batch, kept from before its first job ran."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, text, update

from shared.db.bulk import insert_rows
from shared.db.repositories.batches import PILOT_ASKING, PILOT_COMMITTED
from shared.db.tables import OPEN_BATCH, UNLEARNED_PLAN, batch_plans, batches
from shared.domain.batch import TERMINAL, BatchStatus

_P = batch_plans.c


def add(connection: Connection, number: int, forecast: Mapping[str, Any], now: datetime) -> None:
    """Keep a batch's forecast; the first one stays."""
    row = {"batch_number": number, "forecast": dict(forecast), "made_at": now}
    insert_rows(connection, batch_plans, [row], known="batch_number")


def of(connection: Connection, number: int) -> Row[Any] | None:
    """The plan of a batch, if it has one."""
    return connection.execute(select(batch_plans).where(_P.batch_number == number)).one_or_none()


def to_learn(connection: Connection, limit: int = 20) -> Sequence[Any]:
    """Ended batches whose cost is still to be learned, oldest first: number, project_id, total."""
    query = (
        select(batches.c.number, batches.c.project_id, batches.c.total)
        .join(batch_plans, _P.batch_number == batches.c.number)
        .where(
            text(f"batch_plans.{UNLEARNED_PLAN}"),
            batches.c.status.in_([status.value for status in TERMINAL]),
        )
        .order_by(batches.c.number)
        .limit(limit)
    )
    return connection.execute(query).all()


def set_allotment(
    connection: Connection, number: int, allotment: Mapping[str, Any], gain_per_usd: float
) -> None:
    """How a batch's budget is spread from now on, and at what price."""
    connection.execute(
        update(batch_plans)
        .where(_P.batch_number == number)
        .values(allotment=dict(allotment), gain_per_usd=gain_per_usd)
    )


def gain_per_usd(connection: Connection, number: int) -> float | None:
    """What a dollar must bring in a batch whose budget is allotted."""
    query = select(_P.gain_per_usd).where(_P.batch_number == number)
    return connection.execute(query).scalar_one_or_none()


def allotted(connection: Connection) -> Sequence[Any]:
    """Running batches whose budget is allotted, with `allotment`, `cap_nusd` and their counts."""
    query = (
        select(
            *(
                batches.c[name]
                for name in (
                    "number", "total", "rejected", "duplicates", "completed", "failed",
                    "cancelled", "expired", "cost_nusd",
                )
            ),
            batches.c.max_cost_nusd.label("cap_nusd"),
            _P.allotment,
        )
        .join(batch_plans, _P.batch_number == batches.c.number)
        .where(
            text(f"batches.{OPEN_BATCH}"),
            batches.c.status == BatchStatus.IN_PROGRESS,
            batches.c.optimise.is_not(None),
            _P.allotment.is_not(None),
        )
        .order_by(batches.c.number)
    )  # fmt: skip
    return connection.execute(query).all()


def begin_pilot(connection: Connection, number: int, pilot: Mapping[str, Any]) -> None:
    """Only the pilot's lines may run; or all of them at once, where it has none."""
    connection.execute(
        update(batch_plans).where(_P.batch_number == number).values(pilot=dict(pilot))
    )
    phase = PILOT_ASKING if pilot["lines"] else PILOT_COMMITTED
    connection.execute(update(batches).where(batches.c.number == number).values(pilot=phase))


def commit_pilot(connection: Connection, number: int, pilot: Mapping[str, Any]) -> bool:
    """The pilot has been judged: the rest may run. False where it was judged already."""
    moved = connection.execute(
        update(batches)
        .where(batches.c.number == number, batches.c.pilot == PILOT_ASKING)
        .values(pilot=PILOT_COMMITTED)
    )
    if not moved.rowcount:
        return False
    connection.execute(
        update(batch_plans).where(_P.batch_number == number).values(pilot=dict(pilot))
    )
    return True


def pilot_of(connection: Connection, number: int) -> Mapping[str, Any]:
    """A batch's pilot as it stands; empty where it has none."""
    query = select(_P.pilot).where(_P.batch_number == number)
    found: Mapping[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return found or {}


def piloting(connection: Connection) -> Sequence[Any]:
    """Running batches whose pilot is not judged yet: number, in_progress_at, pilot_plan."""
    query = (
        select(batches.c.number, batches.c.in_progress_at, _P.pilot.label("pilot_plan"))
        .join(batch_plans, _P.batch_number == batches.c.number)
        .where(
            text(f"batches.{OPEN_BATCH}"),
            batches.c.status == BatchStatus.IN_PROGRESS,
            batches.c.pilot == PILOT_ASKING,
        )
        .order_by(batches.c.number)
    )
    return connection.execute(query).all()


def mark_learned(connection: Connection, number: int, now: datetime) -> bool:
    """Its cost is learned in the caller's transaction; False where somebody was faster."""
    marked = connection.execute(
        update(batch_plans)
        .where(_P.batch_number == number, _P.learned_at.is_(None))
        .values(learned_at=now)
    )
    return bool(marked.rowcount)
