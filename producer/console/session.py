"""Who is logged in: a signed cookie that names a key by its hash, never the key itself.

Nothing is kept on the server, so any API process knows a session that another one began. The key
is looked up again for whatever a page does: revoking it, or its expiry, ends its sessions within
seconds. Logging out takes the cookie away; a copy of it would work until it is twelve hours old.
"""

import hashlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import HTTPConnection
from starlette.responses import Response

LASTS_S: Final = 12 * 3600
ROOT: Final = "/console"

_SESSION: Final = "promptmill_session"
ZONE: Final = "promptmill_zone"
THEME: Final = "promptmill_theme"
PROJECT: Final = "promptmill_project"
_UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks, and how: the hash of their key, when their session ends (Unix seconds), their time
    zone, `dark` (None: as their system is), and the project an admin has chosen (None: all).
    """

    digest: str
    until: float
    zone: ZoneInfo
    dark: bool | None
    project: str | None


class Sessions:
    """Signs and reads the cookies, under a secret made of the installation's admin key."""

    def __init__(self, admin_key: str) -> None:
        secret = hashlib.sha256(b"promptmill console\n" + admin_key.encode()).digest()
        self._signer = URLSafeTimedSerializer(secret, salt="session")

    def begin(self, response: Response, digest: str, *, secure: bool) -> None:
        """Let whoever gets this response in, as the key of this hash."""
        response.set_cookie(
            _SESSION,
            self._signer.dumps(digest),
            max_age=LASTS_S,
            path=ROOT,
            secure=secure,
            httponly=True,
            samesite="lax",
        )

    def end(self, response: Response) -> None:
        """Take the cookie away."""
        response.delete_cookie(_SESSION, path=ROOT)

    def reader(self, connection: HTTPConnection) -> Reader | None:
        """Whose session this is; None without one, or with one that is too old or not ours."""
        try:
            digest, begun = self._signer.loads(
                connection.cookies.get(_SESSION, ""), max_age=LASTS_S, return_timestamp=True
            )
        except BadSignature:
            return None
        theme = connection.cookies.get(THEME)
        return Reader(
            str(digest),
            begun.timestamp() + LASTS_S,
            _zone(unquote(connection.cookies.get(ZONE, ""))),
            None if theme not in {"dark", "light"} else theme == "dark",
            unquote(connection.cookies.get(PROJECT, "")) or None,
        )


def _zone(name: str) -> ZoneInfo:
    """The browser's time zone; UTC where it told none that is known here."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return _UTC
