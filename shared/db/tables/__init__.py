"""Every table, a file for each matter; whoever reads or writes them imports them from here.

Money columns end in `_nusd` and hold integer nano-dollars. JSON that the database never looks into
(requests, answers) is text. Statuses carry CHECKs made from the enumerations. Migrations are
compared with these tables by a test.
"""

from shared.db.base import metadata
from shared.db.tables.accounts import api_keys, projects, templates
from shared.db.tables.announcing import (
    outbox,
    webhook_deliveries,
    webhook_endpoints,
    webhook_tries,
)
from shared.db.tables.batch import OPEN_BATCH, SUBMITTED_BATCH, UNSUMMED_BATCH, batches
from shared.db.tables.cluster import alerts, leaderships, worker_heartbeats
from shared.db.tables.job import jobs, results
from shared.db.tables.learning import (
    COST_SUMS,
    EVIDENCE_SUMS,
    UNLEARNED_FEEDBACK,
    UNLEARNED_PLAN,
    batch_plans,
    cost_tallies,
    feedback,
    outcome_days,
    outcome_tallies,
)
from shared.db.tables.money import PARTS, attempts, budget_announcements, spend, usage
from shared.db.tables.uploads import file_intakes, files

__all__ = [
    "COST_SUMS",
    "EVIDENCE_SUMS",
    "OPEN_BATCH",
    "PARTS",
    "SUBMITTED_BATCH",
    "UNLEARNED_FEEDBACK",
    "UNLEARNED_PLAN",
    "UNSUMMED_BATCH",
    "alerts",
    "api_keys",
    "attempts",
    "batch_plans",
    "batches",
    "budget_announcements",
    "cost_tallies",
    "feedback",
    "file_intakes",
    "files",
    "jobs",
    "leaderships",
    "metadata",
    "outbox",
    "outcome_days",
    "outcome_tallies",
    "projects",
    "results",
    "spend",
    "templates",
    "usage",
    "webhook_deliveries",
    "webhook_endpoints",
    "webhook_tries",
    "worker_heartbeats",
]
