"""The rows of a commit, made before it begins: half of its work, during which nobody waits for the
locks that it takes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from shared.db.repositories import attempts
from shared.db.repositories.attempts import Closing, Intent
from shared.db.stored_form import Row, stored
from shared.db.tables import attempts as attempt_table
from shared.db.tables import results as result_table


class RowsAhead(NamedTuple):
    """Of intents and of jobs' ends by the write's place; of closings in their order."""

    intents: Mapping[int, Row]
    closings: Sequence[Row]
    ends: Mapping[int, Row]


def rows_ahead(
    intents: Mapping[int, Intent],
    closings: Sequence[Closing],
    ends: Mapping[int, Row],
    *,
    is_sqlite: bool,
) -> RowsAhead:
    """The rows as the database takes them. Raises what a value raises that it cannot take."""
    opened = stored(attempts.intent_rows([*intents.values()]), attempt_table, is_sqlite=is_sqlite)
    closed = stored(attempts.closing_rows(closings), attempt_table, is_sqlite=is_sqlite)
    ended = stored([*ends.values()], result_table, is_sqlite=is_sqlite)
    return RowsAhead(
        dict(zip(intents, opened, strict=True)), closed, dict(zip(ends, ended, strict=True))
    )
