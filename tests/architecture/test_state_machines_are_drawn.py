"""The drawings are the tables, and the database's CHECKs are the enumerations."""

import re
from enum import StrEnum
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint

from shared.db.tables import attempts, batches, jobs
from shared.domain.attempt import AttemptStatus, Purpose
from shared.domain.batch import MOVES as BATCH_MOVES
from shared.domain.batch import OPEN, BatchStatus, BatchVerb, Priority
from shared.domain.batch import TERMINAL as BATCH_TERMINAL
from shared.domain.job import CLAIMED_VERBS, JobStatus, JobVerb
from shared.domain.job import MOVES as JOB_MOVES
from shared.domain.job import TERMINAL as JOB_TERMINAL

PAGE = Path(__file__).parents[2] / "docs" / "state_machine.md"
_ARROW = re.compile(r"^ {4}(\S+) --> (\S+?)(?:: (\w+))?$", re.MULTILINE)

MACHINES = [
    pytest.param("A job", JOB_MOVES, JOB_TERMINAL, JobStatus.QUEUED, JobVerb, id="job"),
    pytest.param(
        "A batch", BATCH_MOVES, BATCH_TERMINAL, BatchStatus.VALIDATING, BatchVerb, id="batch"
    ),
]


def section(title: str) -> str:
    return PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("title", "moves", "terminal", "first", "verbs"), MACHINES)
def test_the_drawing_is_the_table(title, moves, terminal, first, verbs):  # noqa: ANN001
    drawn = _ARROW.findall(section(title).partition("```mermaid")[2].partition("```")[0])
    expected = {(s.value, t.value, v.value) for (s, v), t in moves.items()}
    expected |= {("[*]", first.value, "")} | {(s.value, "[*]", "") for s in terminal}
    assert set(drawn) == expected
    assert len(drawn) == len(expected)
    listed = re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE)
    assert listed == [verb.value for verb in verbs]


@pytest.mark.parametrize(("title", "moves", "terminal", "first", "verbs"), MACHINES)
def test_every_state_is_reached_and_left_or_terminal(title, moves, terminal, first, verbs):  # noqa: ANN001
    states = set(type(first))
    assert states == set(moves.values()) | {first}, title
    assert states == {source for source, _ in moves} | terminal
    assert set(verbs) == {verb for _, verb in moves}


def test_a_batch_is_open_or_has_ended():
    assert set(BatchStatus) == OPEN | BATCH_TERMINAL
    assert not OPEN & BATCH_TERMINAL


def test_only_a_running_job_is_claimed():
    sources = {source for source, verb in JOB_MOVES if verb in CLAIMED_VERBS}
    assert sources == {JobStatus.RUNNING}


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        (jobs, "status", JobStatus),
        (batches, "status", BatchStatus),
        (batches, "priority", Priority),
        (attempts, "status", AttemptStatus),
        (attempts, "purpose", Purpose),
    ],
)
def test_the_check_is_the_enumeration(table, column: str, words: type[StrEnum]):  # noqa: ANN001
    (check,) = (
        str(c.sqltext)
        for c in table.constraints
        if isinstance(c, CheckConstraint) and str(c.sqltext).startswith(f"{column} IN")
    )
    assert set(re.findall(r"'(\w+)'", check)) == {word.value for word in words}
