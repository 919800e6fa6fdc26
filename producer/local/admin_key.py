"""The admin key: what PROMPTMILL_ADMIN_KEY says, otherwise made once and kept in the home."""

import os
import re
import secrets
from pathlib import Path

from shared.errors import ConfigurationError
from shared.settings import Settings

# Flower reads the key from a comma-separated list, HTTP's basic login ends the user at a colon.
_ALLOWED = re.compile(r"[!-+\--9;-~]{16,256}")


def admin_key(settings: Settings) -> str:
    """The key; made with 256 bits of chance and mode 0600 where there is none yet.

    Raises ConfigurationError for a key that is short or holds spaces, commas or colons.
    """
    if settings.admin_key is not None:
        return _checked(settings.admin_key.get_secret_value(), "PROMPTMILL_ADMIN_KEY")
    path = settings.admin_key_file
    if not path.exists():
        _write_once(path, "pm_admin_" + secrets.token_urlsafe(32))
    return _checked(path.read_text().strip(), str(path))


def _write_once(path: Path, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w") as text:
        text.write(key + "\n")
    try:
        os.link(draft, path)  # whole or not at all, and never over one that is there already
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _checked(key: str, where: str) -> str:
    if not _ALLOWED.fullmatch(key):
        raise ConfigurationError(
            f"{where}: an admin key has 16 to 256 printable characters, no space, comma or colon"
        )
    return key
