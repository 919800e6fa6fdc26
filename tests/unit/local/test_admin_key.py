import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from producer.local.admin_key import admin_key
from shared.errors import ConfigurationError
from shared.settings import Settings


def settings_of(home: Path, key: str | None = None) -> Settings:
    return Settings(_env_file=None, home=home, admin_key=None if key is None else SecretStr(key))


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    key = admin_key(settings)
    assert len(key) > 40
    assert admin_key(settings) == key
    assert stat.S_IMODE(settings.admin_key_file.stat().st_mode) == 0o600


def test_a_key_that_was_set_wins(tmp_path: Path) -> None:
    assert admin_key(settings_of(tmp_path, "x" * 32)) == "x" * 32
    assert not (tmp_path / "admin.key").exists()


@pytest.mark.parametrize(
    "key", ["short", "with space in the middle", "a,comma,in,the,middle", "a:colon:in:it:too"]
)
def test_a_key_that_flower_or_http_would_misread_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match="PROMPTMILL_ADMIN_KEY") as refused:
        admin_key(settings_of(tmp_path, key))
    assert key not in refused.value.message


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: admin_key(settings), range(32)))) == 1
