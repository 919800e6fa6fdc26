"""The errors a caller of this system may meet, sorted by what that caller can do about them.

PromptmillError
 ├── UsageError            the request is wrong: mend it (HTTP 400, exit code 2)
 │    ├── NotFoundError    no such thing in this project (404)
 │    ├── ConflictError    the state does not allow it, or the idempotency key was used (409)
 │    └── ConfigurationError   settings or catalog are wrong: mend them and start again
 ├── AccessError           the key is missing, wrong, expired or lacks the scope (401, 403)
 ├── BudgetRefusedError    money is missing: raise the limit (402)
 └── UnavailableError      Redis or the database does not answer: try again later (503)

Errors of libraries are mapped to these once, at the edge that calls the library.
"""


class PromptmillError(Exception):
    """Base of all; `code` is stable for machines, `param` names the field it is about."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param


class UsageError(PromptmillError):
    """What was asked is wrong as it stands; asking again unchanged gives the same answer."""

    code = "invalid_request"


class NotFoundError(UsageError):
    """There is no such thing, or it belongs to another project (which is not told apart)."""

    code = "not_found"


class ConflictError(UsageError):
    """The thing exists, but its state does not allow what was asked."""

    code = "conflict"


class ConfigurationError(UsageError):
    """Settings, catalog or installation are wrong; the message says what to change."""

    code = "configuration"


class AccessError(PromptmillError):
    """The key does not allow it. `known` tells a wrong key (401) from a missing right (403)."""

    code = "invalid_api_key"

    def __init__(self, message: str, *, known: bool = False, code: str | None = None) -> None:
        super().__init__(message, code=code or ("insufficient_scope" if known else None))
        self.known = known


class BudgetRefusedError(PromptmillError):
    """The budget does not cover what was asked."""

    code = "budget_exceeded"


class UnavailableError(PromptmillError):
    """A part this process depends on does not answer; the same call may work later."""

    code = "unavailable"
