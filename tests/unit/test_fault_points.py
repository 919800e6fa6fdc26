"""Every marker stands in the code and has its crash test; an armed one acts at its time only."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.fault_points import EXIT_CODE, VARIABLE, Armed, FaultPoint

ROOT = Path(__file__).parents[2]
_MARKER = re.compile(r"reach\(FaultPoint\.(\w+)\)")
_NAME = re.compile(r"FaultPoint\.([A-Z_]+)")


def source_of(*folders: str) -> str:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return "\n".join(path.read_text() for path in files)


def test_every_marker_stands_in_the_code_once() -> None:
    assert sorted(_MARKER.findall(source_of("worker", "producer"))) == sorted(
        FaultPoint.__members__
    )


def test_every_marker_has_a_crash_test() -> None:
    assert set(_NAME.findall(source_of("tests/crash"))) == set(FaultPoint.__members__)


def test_every_marker_is_in_the_document_of_failures() -> None:
    told = (ROOT / "docs" / "failure_modes.md").read_text()
    assert [point.value for point in FaultPoint if f"`{point.value}`" not in told] == []


@pytest.mark.parametrize(
    ("text", "armed"),
    [
        ("after_intent", Armed(FaultPoint.AFTER_INTENT)),
        ("after_intent:3", Armed(FaultPoint.AFTER_INTENT, 3)),
        ("after_intent:stop", Armed(FaultPoint.AFTER_INTENT, 1, "stop")),
        ("after_intent:2:exit", Armed(FaultPoint.AFTER_INTENT, 2, "exit")),
    ],
)
def test_a_point_is_armed_by_name_number_and_action(text: str, armed: Armed) -> None:
    assert Armed.parse(text) == armed


@pytest.mark.parametrize("text", ["after_intend", "after_intent:0", "after_intent:1:burn", "a:1:2"])
def test_a_typo_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Armed.parse(text)


def test_an_armed_process_ends_at_that_time_and_no_other() -> None:
    program = (
        "from shared.fault_points import FaultPoint, reach\n"
        "for n in (1, 2, 3):\n"
        "    reach(FaultPoint.AFTER_ANSWER)\n"
        "    reach(FaultPoint.AFTER_INTENT)\n"
        "    print(n, flush=True)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {VARIABLE: "after_intent:2:exit"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (EXIT_CODE, "1\n")
