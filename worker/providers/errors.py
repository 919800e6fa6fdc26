"""What can go wrong with a call to a provider, sorted by what the caller can do about it.

ProviderError
 ├── NotSent          never left this process (refused, DNS, TLS, our own refusal): free
 ├── Throttled        too fast (429 and its like): free, wait as told
 ├── Unavailable      the provider is sick or busy (5xx, 408, 409, 425, 498, 529): free, try again
 │                    or elsewhere; `billed` says so when it worked and failed all the same
 ├── AccountRefused   the key must pause (401, 402, 403, quota or credit used up): free
 ├── RequestRefused   wrong for this model (400, 404, 413, 422): free, another model may do
 └── MaybeBilled      left, and no readable answer came (timeout, cut, garbage): may cost money
      └── HungUp      left, and we cut it because nobody waits for the answer any more

NotAdmitted           nothing was tried
 ├── ProviderBusy     limits, a cool-down or a paused account: wait, patience is not used up
 └── ProviderDown     the circuit is open: go elsewhere, or wait with patience

Messages carry no key and at most `MAX_MESSAGE` characters of what the provider said.
"""

import re
from typing import Final

from shared.domain.inference import Usage

MAX_MESSAGE: Final = 300

_REDACTED: Final = "[redacted]"
_SHORTEST_SECRET: Final = 4
"""Shorter "keys" are placeholders of keyless hosts; they would take words apart."""

_SECRETS: Final = re.compile(
    r"(?i)\b(?:bearer\s+\S+"
    r"|(?:sk|pk|rk|gsk|xai|co|key|api|tgp|nvapi|hf|fw|pplx|csk)[-_][\w*.\-]{6,}"
    r"|AIza[\w*\-]{6,}"
    r"|(?:api[-_ ]?key|key|token|authorization)\s*[=:]\s*[\"']?[\w*.\-+/]{6,}"
    r"|(?=[\w\-]*\d)[\w\-]{32,})"
    r"|(?<=://)[^/\s@]+@"
)


def redact(text: str) -> str:
    """A foreign message without anything that looks like a key, on one line, cut short."""
    flat = " ".join(text[: 8 * MAX_MESSAGE].split())
    return _SECRETS.sub(_REDACTED, flat)[:MAX_MESSAGE]


class ProviderError(Exception):
    """Base of all. `kind` is stable and short: logs, metrics and the job's story show it.

    status: of the HTTP answer, None where there was none. retry_after_s: how long the provider
    asked us to wait. billed: what it charged all the same, where it said so.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
        billed: Usage | None = None,
    ) -> None:
        self.kind = kind
        self.message = redact(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.billed = billed
        super().__init__(f"{kind}: {self.message}")

    def forget(self, secret: str) -> None:
        """Take a key out of the message, also one that does not look like any, and the beginning of
        one where the message was cut short.
        """
        if len(secret) < _SHORTEST_SECRET:
            return
        message = self.message.replace(secret, _REDACTED)
        beginnings = (secret[:end] for end in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1))
        cut = next((part for part in beginnings if message.endswith(part)), "")
        self.message = message.removesuffix(cut)[:MAX_MESSAGE]
        self.args = (f"{self.kind}: {self.message}",)


class NotSent(ProviderError):  # noqa: N818 - these are named for what the caller does
    """The request never left this process: nothing can have been charged."""


class Throttled(ProviderError):  # noqa: N818
    """The provider asked us to slow down; it does not charge for that."""


class Unavailable(ProviderError):  # noqa: N818
    """The provider answered that it cannot answer now."""


class AccountRefused(ProviderError):  # noqa: N818
    """The provider refuses this key, whatever is asked: the key must pause.

    `retry_after_s` is set where the refusal ends by itself (a daily quota).
    """


class RequestRefused(ProviderError):  # noqa: N818
    """The provider refuses this request for this model; unchanged it will always do so."""


class MaybeBilled(ProviderError):  # noqa: N818
    """The request left and no usable answer came back: it may have been charged.

    `billed` is set where the answer was readable enough to know its usage.
    """


class HungUp(MaybeBilled):
    """Nobody waits for the answer any more, so the call was cut.

    `billed` is our own count of what it had used by then, an upper bound; None where nothing can
    be said about it.
    """


class NotAdmitted(Exception):  # noqa: N818 - named for what the caller does about it
    """No call was tried. retry_in_s: when it is worth asking again."""

    def __init__(self, retry_in_s: float, reason: str) -> None:
        self.retry_in_s = retry_in_s
        self.reason = redact(reason)
        super().__init__(f"{self.reason} (again in {retry_in_s:.1f} s)")


class ProviderBusy(NotAdmitted):
    """Limits are reached, the provider asked for a pause, or the account is refused."""

    def __init__(self, retry_in_s: float, reason: str, *, account_level: bool = False) -> None:
        super().__init__(retry_in_s, reason)
        self.account_level = account_level


class ProviderDown(NotAdmitted):
    """Every key's circuit is open: the provider has not been answering."""


def name_of(error: Exception) -> str:
    """An error by its type and its system error: texts of libraries may hold addresses and keys."""
    inner = getattr(error, "os_error", error)
    reason = getattr(inner, "strerror", None)
    return f"{type(error).__name__}: {reason}" if isinstance(reason, str) else type(error).__name__
