"""Signatures by the Standard Webhooks specification."""

from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

from shared.clock import unix_seconds


def headers(
    message_id: str, moment: datetime, payload: str, secrets: Sequence[str]
) -> dict[str, str]:
    """The three headers that prove the payload; `moment` is that of this try, in UTC.

    While a rotation overlaps there are two secrets and so two signatures: the receiver may verify
    by either.
    """
    signatures = [Webhook(secret).sign(message_id, moment, payload) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(unix_seconds(moment)),
        "webhook-signature": " ".join(signatures),
    }
