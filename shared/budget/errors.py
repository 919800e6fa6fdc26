"""What can go wrong with the ledger itself; refusals of money are values (see `model`)."""

from shared.errors import ConflictError, UnavailableError


class LedgerUnavailable(UnavailableError):  # noqa: N818 - named for the state, as in its siblings
    """Redis did not answer or refused to work: nothing is known to have happened, nothing is
    admitted. Every verb may be repeated; a settlement that did arrive then answers False.
    """

    code = "ledger_unavailable"


class AttemptReused(ConflictError):  # noqa: N818 - as above
    """An attempt id that already holds a reservation came back for more money or other scopes.

    A fault of the caller: ids are made once per attempt.
    """

    code = "attempt_reused"
