"""Which addresses a webhook may reach: public ones, and private ones only where they were allowed.

`check` looks at every address the host's name has at this moment and answers with them; the sender
connects to one of these and to nothing else, so a name that changes its mind between check and
connection (DNS rebinding) gains nothing. Checked when an endpoint is made and at each delivery.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from shared.errors import UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""Host and port to all its addresses as text; raises OSError when the name has none."""

MAX_URL_LENGTH = 2048
_PORTS = {"http": 80, "https": 443}
# What parsers disagree about is refused: blanks, control characters and backslashes.
_AMBIGUOUS = re.compile(r"[\x00-\x20\x7f\\]")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")
# What inet_aton reads as an IPv4 address: one to four numbers, decimal, octal or hexadecimal.
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}\Z")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Not public although `is_global` of some Python versions says so.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # IPv4-compatible
        "64:ff9b:1::/48",  # local NAT64
        "100::/64",  # discard
        "2001::/23",  # protocol assignments, Teredo
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
)


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL that may be called, and the only addresses it may be called at."""

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...]

    @property
    def host_header(self) -> str:
        """The value of the Host header: the name, not the address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: str) -> str:
        """The URL with one of the addresses in the place of the name."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def system_resolver(host: str, port: int) -> list[str]:
    """All addresses the system knows for the name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check(url: str, allowed: Sequence[str] = (), resolve: Resolver = system_resolver) -> CheckedUrl:
    """The URL with its addresses, if all of them are public or in the allowed ranges.

    `allowed`: networks like "10.0.0.0/8". Raises UsageError with code `invalid_url`,
    `unresolvable_host` or `forbidden_address`, param `url`.
    """
    parts = _split(url)
    host = _host_of(parts)
    port = _port_of(parts)
    networks = [ipaddress.ip_network(text, strict=False) for text in allowed]
    addresses = _addresses(host, port, resolve)
    for address in addresses:
        if not _is_allowed(address, networks) and not is_public(address):
            raise UsageError(
                f"webhooks may not reach {host}: {address} is not a public address"
                " (PROMPTMILL_WEBHOOK_ALLOWED_CIDRS lets a range through)",
                code="forbidden_address",
                param="url",
            )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return CheckedUrl(parts.scheme, host, port, path, tuple(str(a) for a in addresses))


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet can reach it, and nobody inside our network only."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
    if address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return address.is_global and not any(
        address in network for network in _NOT_PUBLIC if network.version == address.version
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    forms: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        forms.append(address.ipv4_mapped)
    return any(
        form in network for form in forms for network in networks if form.version == network.version
    )


def _refused(reason: str) -> UsageError:
    return UsageError(f"not a webhook URL: {reason}", code="invalid_url", param="url")


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise _refused(f"it is longer than {MAX_URL_LENGTH} characters")
    if _AMBIGUOUS.search(url):
        raise _refused("it holds blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused("it cannot be read") from None
    if parts.scheme not in _PORTS:
        raise _refused("it must begin with https:// or http://")
    if "@" in parts.netloc:
        raise _refused("user names and passwords do not belong into it")
    return parts


def _port_of(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise _refused("its port is no number from 1 to 65535") from None
    if port == 0:
        raise _refused("its port is no number from 1 to 65535")
    return port or _PORTS[parts.scheme]


def _host_of(parts: SplitResult) -> str:
    """The host in its one plain spelling: ASCII, lower case, no final dot, no brackets."""
    host = parts.hostname or ""
    if parts.netloc.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise _refused("its IPv6 address cannot be read") from None
    try:
        plain = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        raise _refused("its host is no name") from None
    if not _NAME.match(plain):
        raise _refused("its host is no name")
    return plain


def _addresses(host: str, port: int, resolve: Resolver) -> list[Address]:
    literal = _literal(host)
    if literal is not None:
        return [literal]
    try:
        found = resolve(host, port)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise UsageError(f"the host {host} has no address", code="unresolvable_host", param="url")
    return [ipaddress.ip_address(text) for text in found]


def _literal(host: str) -> Address | None:
    """The address that the host spells out, in any of the spellings systems understand."""
    if ":" in host:
        return ipaddress.IPv6Address(host)
    if not _NUMERIC.match(host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        raise _refused("its numeric address cannot be read") from None
