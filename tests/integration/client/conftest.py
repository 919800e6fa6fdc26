"""A scripted API, and the command line run as the user runs it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producer.client import Promptmill
from tests.integration.client.scripted_api import ScriptedApi
from tests.servers.warm_command_line import WarmCommandLine

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


@pytest.fixture(scope="session")
def warm_command_line() -> Iterator[WarmCommandLine]:
    commands = WarmCommandLine()
    yield commands
    commands.close()


@pytest.fixture
def run_cli(tmp_path: Path, warm_command_line: WarmCommandLine) -> Cli:
    """Run `promptmill ARGUMENTS` in an empty folder; `env` adds to a clean environment."""

    def run(
        *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        root = Path(__file__).parents[3]
        clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(tmp_path)}
        return warm_command_line.run(
            arguments, cwd=tmp_path, env=clean | (env or {}), timeout_s=60, stdin=stdin or ""
        )

    return run


@pytest.fixture
def cli(api: ScriptedApi, run_cli: Cli) -> Cli:
    """The command line, set to the scripted API."""

    def run(*arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        env = {"PROMPTMILL_API_URL": api.url, "PROMPTMILL_API_KEY": "pm_test"}
        return run_cli(*arguments, stdin=stdin, env=env)

    return run
