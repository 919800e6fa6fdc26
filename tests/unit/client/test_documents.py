"""The README and the reference name only commands that are there, and sample lines that run."""

import re
from pathlib import Path

import pytest
import typer

from producer.cli.main import app
from producer.intake import IntakeLimits, ValidLine, read_lines

ROOT = Path(__file__).parents[3]


def _commands() -> set[str]:
    root = typer.main.get_command(app)
    found = set()
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found.add(name)
        found |= {f"{name} {inner}" for inner in getattr(command, "commands", ())}
    return found


@pytest.mark.parametrize("document", ["README.md", "docs/cli.md"])
def test_every_command_that_is_named_is_there(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(
        re.findall(r"promptmill (?!COMMAND)([a-z]+(?: (?:show|set|create|list|test))?)", text)
    )
    known = _commands()
    groups = {name for name in known if " " in name}
    assert named
    assert {name for name in named if name not in known and name not in groups} == set()


def test_every_command_stands_in_the_reference() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    groups = {name.split()[0] for name in _commands() if " " in name}
    missing = {name for name in _commands() - groups if f"`{name}" not in text}
    assert missing == set()


def test_the_first_own_file_of_the_readme_has_only_good_lines() -> None:
    lines = re.findall(r"^\{\"custom_id\".*\}$", (ROOT / "README.md").read_text(), re.MULTILINE)
    read = list(read_lines([line.encode() + b"\n" for line in lines], IntakeLimits(), ()))
    assert len(read) == 3
    assert all(isinstance(line, ValidLine) for line in read)
