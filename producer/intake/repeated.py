"""Which lines of a file ask the same, so that one answer does for all of them."""

from producer.intake.usual import PlainRequest
from shared.domain.inference import Request
from shared.domain.repetition import fingerprint, may_repeat, plain_fingerprint


def asked_once(asked: PlainRequest | Request, *, even_for_variety: bool = False) -> bytes | None:
    """What all lines share that one answer does for; None for a line that needs its own."""
    if isinstance(asked, PlainRequest):
        if asked.temperature and not even_for_variety:
            return None
        return plain_fingerprint(*asked)
    if may_repeat(asked) or (even_for_variety and asked.cache is None):
        return fingerprint(asked)
    return None
