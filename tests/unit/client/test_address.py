"""Where the client finds the API and its key."""

from pathlib import Path

import pytest

from producer.client.address import find_address, find_key, read_settings
from shared.errors import ConfigurationError
from shared.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPTMILL_HOME", str(tmp_path))
    return tmp_path


def test_the_local_home_knows_address_and_key(home: Path) -> None:
    (home / "api.url").write_text("http://127.0.0.1:8000\n")
    (home / "admin.key").write_text("secret\n")
    address = find_address(None, Settings())
    assert address == "http://127.0.0.1:8000"
    assert find_key(None, address, Settings()) == "secret"


def test_without_a_running_mill_the_error_says_what_to_do(home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"promptmill up.*PROMPTMILL_API_URL"):
        find_address(None, Settings())


def test_the_environment_comes_before_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "api.url").write_text("http://127.0.0.1:8000")
    monkeypatch.setenv("PROMPTMILL_API_URL", "https://mill.example/v1/")
    monkeypatch.setenv("PROMPTMILL_API_KEY", "pm_env")
    address = find_address(None, Settings())
    assert address == "https://mill.example"
    assert find_key(None, address, Settings()) == "pm_env"


def test_the_admin_key_of_this_home_never_goes_to_another_machine(home: Path) -> None:
    (home / "admin.key").write_text("secret")
    with pytest.raises(ConfigurationError, match="PROMPTMILL_API_KEY"):
        find_key(None, "https://mill.example", Settings())


@pytest.mark.parametrize(
    "address", ["mill:8000", "ftp://mill", "http://", "http://[1", "http://a:b"]
)
def test_a_wrong_address_is_named_by_its_setting(home: Path, address: str) -> None:
    with pytest.raises(ConfigurationError, match="PROMPTMILL_API_URL"):
        find_address(address, Settings())


def test_a_wrong_setting_is_named_in_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_CHUNK_SIZE", "many")
    with pytest.raises(ConfigurationError, match=r"^PROMPTMILL_CHUNK_SIZE: ") as caught:
        read_settings()
    assert "\n" not in caught.value.message
