"""Where the API is and which key opens it: what was given, the environment, else the local home."""

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from shared.errors import ConfigurationError
from shared.settings import Settings

_NO_ADDRESS = (
    "no Promptmill is running here: start one with `promptmill up`, or set PROMPTMILL_API_URL "
    "(and PROMPTMILL_API_KEY) to one that runs elsewhere"
)


def read_settings(home: Path | None = None) -> Settings:
    """The settings, of this home where one is given. ConfigurationError names a wrong one."""
    try:
        return Settings() if home is None else Settings(home=home)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "PROMPTMILL_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}", param=name) from None


def find_address(given: str | None, settings: Settings) -> str:
    """The API's base URL without a trailing slash. Raises ConfigurationError when there is none."""
    address = given or settings.api_url
    if not address and settings.address_file.is_file():
        address = settings.address_file.read_text(encoding="utf-8").strip()
    if not address:
        raise ConfigurationError(_NO_ADDRESS, code="no_address")
    if not _is_http(address):
        raise ConfigurationError(
            "PROMPTMILL_API_URL must look like http://host:port or https://host"
        )
    return address.rstrip("/").removesuffix("/v1")


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # what is no port, or no IPv6 address
        return False


def find_key(given: str | None, address: str, settings: Settings) -> str:
    """The bearer key. Raises ConfigurationError when there is none.

    The local home's admin key is offered to this machine only: it never travels to another host
    because an address was set without its key.
    """
    if given:
        return given
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    if is_loopback(address):
        if settings.admin_key is not None:
            return settings.admin_key.get_secret_value()
        if settings.admin_key_file.is_file():
            return settings.admin_key_file.read_text(encoding="utf-8").strip()
    raise ConfigurationError(f"there is no key for {address}: set PROMPTMILL_API_KEY")


def is_loopback(address: str) -> bool:
    """Whether the address is this machine's own."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
