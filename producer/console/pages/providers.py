"""Providers: whether they can be asked, circuits, cool-downs, and what is used of their limits."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from producer.console.desk import Desk, desk_of
from producer.console.figures import Cell, moment, number
from producer.console.layout import ask, card, every, frame, words
from producer.console.tables import Column, Row, Rows, badge

_LOOK_S: Final = 2.0
_ABOUT: Final = (
    "A key is named by its provider and eight digits of its hash. An open circuit lets one call "
    "through when it is time, and closes when that is answered."
)
_USE: Final = (
    "Used over the last minute by all projects together, which the admin key sees; tokens of calls "
    "that have ended."
)
_PROVIDERS: Final = (
    Column("provider", "Provider"),
    Column("state", "State"),
    Column("models", "Models"),
    Column("calls", "Calls in flight", "number"),
    Column("requests", "Requests a minute", "number"),
    Column("tokens", "Tokens a minute", "number"),
)
_KEYS: Final = (
    Column("key", "Key"),
    Column("state", "Circuit"),
    Column("failures", "Failures in a row", "number"),
    Column("retry", "Tried again at"),
    Column("cooling", "Cooling down until"),
    Column("reason", "Reason"),
)


@ui.page("/providers")
async def show(request: Request) -> None:
    """How every provider is, looked at anew every two seconds."""
    desk = desk_of(request)
    with frame(desk, "Providers", "Providers"):
        found = await ask(desk.providers)
        with card("Providers of the catalog"):
            providers = Rows("Providers", _PROVIDERS)
            words("p", _USE, "pm-soft")
        with card("Keys that are or lately were in trouble"):
            keys = Rows("Keys", _KEYS, "All keys are well.")
            words("p", _ABOUT, "pm-soft")

        def fill(rows: list[dict[str, Any]]) -> None:
            providers.show([_provider(row) for row in rows])
            keys.show([_key(desk, k, v) for row in rows for k, v in row["keys"].items()])

        async def look() -> None:
            fill(await ask(desk.providers))

        fill(found)
        every(_LOOK_S, look)


def _provider(row: Mapping[str, Any]) -> Row:
    name: Cell = {"text": row["id"], "sub": f"{row['wire']} · {row['base_url']}"}
    return {
        "id": row["id"],
        "provider": name,
        "state": {**badge(row["state"]), "sub": row["reason"] or ""},
        "models": ", ".join(row["models"]),
        **_used(row),
    }


def _used(row: Mapping[str, Any]) -> dict[str, Cell]:
    """What is used now beside what is allowed; a key of one project sees the limits alone."""
    use = row["use"] or {}
    keys = max(1, use.get("keys_in_use", 0))
    limits = {"calls": row["max_concurrency"], "requests": row["rpm"], "tokens": row["tpm"]}
    figures = {
        "calls": use.get("calls_in_flight"),
        "requests": use.get("requests_per_minute"),
        "tokens": use.get("tokens_per_minute"),
    }
    return {name: _of(figures[name], limit, keys) for name, limit in limits.items()}


def _of(figure: int | None, limit: int | None, keys: int) -> Cell:
    if limit is None:
        return {"text": number(figure), "sub": "no limit"}
    held = f"of {number(limit * keys)}" + (f" ({keys} keys)" if keys > 1 else "")
    shown: Cell = {"text": number(figure), "sub": held}
    return shown if figure is None else {**shown, "share": min(1.0, figure / (limit * keys))}


def _key(desk: Desk, name: str, row: Mapping[str, Any]) -> Row:
    zone = desk.reader.zone
    return {
        "id": name,
        "key": name,
        "state": badge(row["state"]),
        "failures": number(row["consecutive_failures"]),
        "retry": moment(row["retry_at"], zone),
        "cooling": moment(row["cooling_down_until"], zone),
        "reason": row["reason"],
    }
