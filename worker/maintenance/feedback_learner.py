"""Learns from what people say of answers, for the routing of the next ones.

Each word counts once: in one transaction with the mark that says what the tallies know of it. A
word that was changed takes back what it said before.
Horizon: 5 s after it was said, and 30 s more until every worker routes by it.
Weakness: one who says much is believed much; a project's own keys may teach it what they like.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any, Final

from shared.db.engine import Database
from shared.db.repositories import outcomes
from shared.db.repositories.outcomes import Outcomes
from shared.deciding.learning import Evidence
from shared.domain.inference import TaskType

_AT_ONCE: Final = 2_000


class FeedbackLearner:
    """Holds nothing: what is still to be learned stands in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_once(self, now: datetime) -> int:
        """Learn what there is; returns from how many words."""
        with self._database.reading() as connection:
            if not outcomes.has_unlearned_feedback(connection):
                return 0
        with self._database.transaction() as connection:
            waiting = outcomes.unlearned_feedback(connection, _AT_ONCE)
            by_project: dict[str, Outcomes] = defaultdict(lambda: defaultdict(Evidence))
            for row in waiting:
                learned, key = by_project[row.project_id], (row.model, TaskType(row.task_type))
                learned[key] = learned[key].plus(_said(row))
            for project_id, learned in sorted(by_project.items()):
                outcomes.add(connection, project_id, learned, now)
            outcomes.mark_feedback_learned(connection, [row.job_id for row in waiting])
        return len(waiting)


def _said(row: Any) -> Evidence:
    if row.learned_score is None:
        difficulty = row.difficulty / 1000.0
        return Evidence(good=row.score, bad=1.0 - row.score, difficulties=difficulty, seen=1.0)
    change = row.score - row.learned_score
    return Evidence(good=change, bad=-change)
