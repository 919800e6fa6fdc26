"""Tables: rows of cells that may link, carry a badge, a second line or a bar; cards on a phone."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from nicegui import ui
from nicegui.events import GenericEventArguments

from producer.console.figures import NOTHING, Cell

# Every text goes through Vue's interpolation, which escapes it: prompts and answers are foreign.
_BODY: Final = """
<q-tr :props="props">
  <q-td v-for="col in props.cols" :key="col.name" :props="props" :data-label="col.label"
        :class="{'pm-number': col.number}">
    <template v-if="col.value !== null && typeof col.value === 'object'">
      <button v-if="col.value.act" class="pm-button pm-small" type="button"
              :aria-label="col.value.text + ' ' + col.value.act"
              @click="$parent.$emit('act', col.value.act)">{{ col.value.text }}</button>
      <span v-else-if="col.value.badge" :class="'pm-badge pm-' + col.value.badge">{{
        col.value.text }}</span>
      <a v-else-if="col.value.href" :href="col.value.href" :title="col.value.title">{{
        col.value.text }}</a>
      <span v-else :title="col.value.title" :data-nusd="col.value.nusd">{{ col.value.text }}</span>
      <span v-if="col.value.sub" class="pm-sub">{{ col.value.sub }}</span>
      <span v-if="col.value.share !== undefined" class="pm-bar" aria-hidden="true"><i
        :style="{width: (100 * col.value.share) + '%'}"></i></span>
    </template>
    <template v-else>{{ col.value }}</template>
  </q-td>
</q-tr>
"""


# Quasar names the box around a table; what is read out is the table's own name.
_HEAD: Final = """
<q-tr :props="props" @vue:mounted="row => row.el.closest('table').setAttribute('aria-label',
      row.el.closest('.pm-table').getAttribute('aria-label'))">
  <q-th v-for="col in props.cols" :key="col.name" :props="props" scope="col">{{ col.label }}</q-th>
</q-tr>
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its key in the rows, its head, and whether its figures stand right."""

    name: str
    label: str
    kind: Literal["text", "number"] = "text"


Row = Mapping[str, str | int | float | Cell | None]


class Rows:
    """A table on the page; `show` replaces its rows, `empty` is told where there are none. Each row
    needs an `id` of its own. A cell with `act` is a button.
    """

    def __init__(self, label: str, columns: Sequence[Column], empty: str = "Nothing here.") -> None:
        self._columns = columns
        self._table = ui.table(
            rows=[],
            columns=[
                {
                    "name": column.name,
                    "label": column.label,
                    "field": column.name,
                    "align": "right" if column.kind == "number" else "left",
                    "number": column.kind == "number",
                }
                for column in columns
            ],
            row_key="id",
        )
        self._table.props(f'flat aria-label="{label}" no-data-label="{empty}"')
        self._table.classes("pm-table").add_slot("header", _HEAD)
        self._table.add_slot("body", _BODY)

    def show(self, rows: Sequence[Row]) -> None:
        """These rows and no others."""
        self._table.rows = [
            {"id": row.get("id"), **{c.name: _shown(row.get(c.name)) for c in self._columns}}
            for row in rows
        ]

    def on_act(self, act: Callable[[str], Awaitable[None]]) -> None:
        """Call this with the `act` of the cell whose button was pressed."""

        async def pressed(event: GenericEventArguments) -> None:
            await act(str(event.args))

        self._table.on("act", pressed)


def _shown(value: str | float | Cell | None) -> str | int | float | dict[str, Any]:
    if value is None:
        return NOTHING
    return dict(value) if isinstance(value, Mapping) else value


def badge(status: str) -> Cell:
    """A status as a coloured word."""
    return {"text": status.replace("_", " "), "badge": _COLOURS.get(status, "plain")}


_COLOURS: Final = {
    **dict.fromkeys(("completed", "delivered", "healthy", "closed", "enabled", "billed"), "good"),
    **dict.fromkeys(("in_progress", "running", "validating", "finalizing", "probing"), "live"),
    **dict.fromkeys(("held", "pending", "paused", "cancelling", "unconfirmed", "warning"), "warm"),
    **dict.fromkeys(("failed", "expired", "open", "unavailable", "disabled", "critical"), "bad"),
}
