"""Nothing that is read can become code: no pickle, no eval, no YAML that makes objects."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("producer", "worker", "shared", "simulator", "migrations")
MODULES = {
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib",
    "jsonpickle",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__"}


def offences(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [node.func.id] if node.func.id in CALLS else []
        elif isinstance(node, ast.Attribute):
            is_yaml = isinstance(node.value, ast.Name) and node.value.id == "yaml"
            found += [f"yaml.{node.attr}"] if is_yaml and not node.attr.startswith("safe") else []
        found += [name for name in names if set(name.split(".")) & MODULES]
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_reads_data_that_could_be_code(room: str) -> None:
    found = {
        str(path.relative_to(ROOT)): bad
        for path in sorted((ROOT / room).rglob("*.py"))
        if (bad := offences(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source", ["import pickle", "from pickle import loads", "eval('1')", "yaml.load(x)"]
)
def test_the_rule_sees_what_it_forbids(source: str) -> None:
    assert offences(source)
