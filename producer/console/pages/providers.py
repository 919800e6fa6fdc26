"""Providers: whether they can be asked, their circuits and cool-downs, and their limits."""

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
_PROVIDERS: Final = (
    Column("provider", "Provider"),
    Column("state", "State"),
    Column("models", "Models"),
    Column("concurrency", "Calls at once", "number"),
    Column("rpm", "Requests / min", "number"),
    Column("tpm", "Tokens / min", "number"),
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
        with card("Keys that are or lately were in trouble"):
            keys = Rows("Keys", _KEYS)
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
        "concurrency": number(row["max_concurrency"]),
        "rpm": number(row["rpm"]),
        "tpm": number(row["tpm"]),
    }


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
