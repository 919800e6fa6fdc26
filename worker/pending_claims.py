"""Claims that are made together with the first write about their jobs: for chats, whose commits
follow one another while somebody waits.

Such a job is read while nobody has it, and run as if it were ours already. Whatever is written of
it first (the intent of its first call, its end, its way back into the queue) takes the claim in the
same transaction, if no worker has had the job meanwhile. Who comes second finds it taken: nothing
of his write is made, and he gives back what he had reserved, as one does who lost a claim.

Only jobs that no worker can have died with are promised a claim: once one may have, a job is
claimed before anything else is done for it, so that deaths are counted
(docs/decisions/0016-a-chats-claim-and-intent-are-one-commit.md).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from shared.db.engine import Connection
from shared.db.repositories import job_claims

Claim = tuple[int, str]
"""A job's id and the token under which it is claimed."""


class PendingClaims:
    """One a process; thread-safe, for its steps are single ones of a set."""

    def __init__(self, lease_s: float) -> None:
        self._lease = timedelta(seconds=lease_s)
        self._pending: set[Claim] = set()

    def promise(self, claims: Sequence[Claim]) -> None:
        """The first write under each of these is to make it."""
        self._pending.update(claims)

    def are_any(self, claims: Sequence[Claim]) -> bool:
        """Whether one of these is still to be made."""
        return not self._pending.isdisjoint(claims)

    def make(self, connection: Connection, claims: Iterable[Claim], now: datetime) -> set[Claim]:
        """Make those of the claims that are pending, in the transaction of what is written under
        them, where nobody was faster; jobs in rising order, as all transactions lock them. Returns
        those that were made here: their jobs are locked for the transaction.
        """
        if not self._pending:
            return set()
        wanted: dict[str, list[int]] = {}
        for job_id, token in sorted(claims):
            if (job_id, token) in self._pending:
                wanted.setdefault(token, []).append(job_id)
        return {
            (job_id, token)
            for token, ids in wanted.items()
            for job_id in job_claims.claim_untouched(connection, ids, token, now + self._lease)
        }

    def settle(self, claims: Iterable[Claim]) -> None:
        """These are durable, or lost, or of no use any more: no later write makes them."""
        if self._pending:
            self._pending.difference_update(claims)
