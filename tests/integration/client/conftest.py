"""A scripted API, and the command line run as the user runs it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producer.client import Promptmill
from tests.integration.client.scripted_api import ScriptedApi

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    server = ScriptedApi()
    yield server
    server.close()


@pytest.fixture
def mill(api: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Promptmill]:
    monkeypatch.chdir(tmp_path)
    with Promptmill(api.url, "pm_test") as client:
        yield client


@pytest.fixture
def run_cli(tmp_path: Path) -> Cli:
    """Run `promptmill ARGUMENTS` in an empty folder; `env` adds to a clean environment."""

    def run(
        *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        root = Path(__file__).parents[3]
        clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "producer.cli.main", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=clean | (env or {}),
            timeout=60,
        )

    return run


@pytest.fixture
def cli(api: ScriptedApi, run_cli: Cli) -> Cli:
    """The command line, set to the scripted API."""

    def run(*arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        env = {"PROMPTMILL_API_URL": api.url, "PROMPTMILL_API_KEY": "pm_test"}
        return run_cli(*arguments, stdin=stdin, env=env)

    return run
