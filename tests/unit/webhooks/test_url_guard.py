"""No spelling of a forbidden address passes; public ones do, and what an allowed range holds."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UsageError
from shared.webhooks import url_guard
from shared.webhooks.url_guard import check, is_public

PUBLIC = "93.184.215.14"


def no_names(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host}:{port} was asked for")


def names(*addresses: str):
    return lambda _host, _port: list(addresses)


FORBIDDEN = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.0.0.1./",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7F.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://167772161/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://0xa9fea9fe/",
    "http://100.64.0.1/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://192.88.99.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[100::1]/",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_forbidden_address_is_refused_in_every_spelling(url: str):
    with pytest.raises(UsageError) as refusal:
        check(url, resolve=no_names)
    assert refusal.value.code in {"forbidden_address", "invalid_url"}
    assert refusal.value.param == "url"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com@127.0.0.1/",
        "https://127.0.0.1\\@example.com/",
        "https://exa mple.com/",
        "https://example.com/\r\nHost: evil",
        "https://exam\tple.com/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://example%2ecom/",
        "https://127.0.0.1%00.example.com/",
        "https://example..com/",
        "https://example.com../",
        "https://[::1/",
        "https://[v1.x]/",
        "https://256.256.256.256/",
        "https://1.2.3.4.5/",
        "https://" + "a" * 64 + ".com/",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_what_is_no_plain_url_is_refused(url: str):
    with pytest.raises(UsageError) as refusal:
        check(url, resolve=names())
    assert refusal.value.code in {"invalid_url", "unresolvable_host"}


@pytest.mark.parametrize("url", ["http://localhost/", "http://LOCALHOST./", "http://a.localhost/"])
def test_a_name_of_this_machine_is_refused(url: str):
    with pytest.raises(UsageError, match="not a public address"):
        check(url, resolve=names("127.0.0.1", "::1"))


def test_every_address_of_a_name_must_be_public():
    with pytest.raises(UsageError, match=r"10\.0\.0\.5"):
        check("https://example.com/", resolve=names(PUBLIC, "10.0.0.5"))


def test_a_name_without_an_address_is_refused():
    def failing(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(UsageError) as refusal:
        check("https://example.com/", resolve=failing)
    assert refusal.value.code == "unresolvable_host"


def test_a_public_url_comes_back_with_what_to_connect_to():
    checked = check("https://Example.com:8443/a?b=c#d", resolve=names(PUBLIC))
    assert (checked.host, checked.port, checked.addresses) == ("example.com", 8443, (PUBLIC,))
    assert checked.at(PUBLIC) == f"https://{PUBLIC}:8443/a?b=c"
    assert checked.host_header == "example.com:8443"


def test_the_default_port_is_not_in_the_host_header():
    checked = check("https://bücher.example/", resolve=names("2606:2800:21f::1"))
    assert checked.host_header == "xn--bcher-kva.example"
    assert checked.at(checked.addresses[0]) == "https://[2606:2800:21f::1]:443/"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:9000/", "127.0.0.0/8"),
        ("http://[::ffff:127.0.0.1]/", "127.0.0.0/8"),
        ("http://[::1]/", "::1/128"),
        ("http://10.1.2.3/", "10.0.0.0/8"),
    ],
)
def test_an_allowed_range_lets_its_own_addresses_through(url: str, allowed: str):
    assert check(url, [allowed], resolve=no_names).addresses
    with pytest.raises(UsageError):
        check(url, ["192.168.0.0/16"], resolve=no_names)


@given(st.ip_addresses(v=4))
def test_no_address_is_public_in_one_spelling_and_private_in_another(
    address: ipaddress.IPv4Address,
):
    spellings = [
        f"http://{address}/",
        f"http://{int(address)}/",
        f"http://{int(address):#x}/",
        f"http://0{int(address):o}/",
        f"http://[::ffff:{address}]/",
        f"http://[64:ff9b::{address}]/",
    ]
    assert {_passes(url) for url in spellings} == {is_public(address)}


def _passes(url: str) -> bool:
    try:
        check(url, resolve=no_names)
    except UsageError:
        return False
    return True


@given(st.ip_addresses())
def test_what_is_private_to_python_is_never_public_to_us(address: url_guard.Address):
    if is_public(address):
        assert address.is_global
        assert not address.is_private


@given(st.text(max_size=60))
def test_arbitrary_text_is_checked_or_refused(text: str):
    for url in (text, f"http://{text}", f"http://{text}/"):
        try:
            checked = check(url, resolve=names("10.0.0.1"))
        except UsageError:
            continue
        assert all(is_public(ipaddress.ip_address(a)) for a in checked.addresses)


def test_the_systems_resolver_finds_this_machine():
    assert "127.0.0.1" in url_guard.system_resolver("localhost", 80)
