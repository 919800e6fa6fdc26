"""Intake and export: lines a second parsed, durable in a database, and read out of it again."""

import gc
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import migrations
from benchmarks.ended import ended_batch
from benchmarks.load import write_catalog, write_jsonl
from producer import bootstrap
from producer.intake import IntakeLimits, read_lines
from producer.options import Options
from producer.reporting.result_lines import Format
from producer.reporting.results import ResultReader
from shared import interpreter
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.repositories import projects
from shared.settings import Settings

_PROJECT = "bench"


def parsed_per_s(file: Path, lines: int) -> float:
    """Read, validate and make requests of a file; keeps nothing."""
    began = time.perf_counter()
    with file.open("rb") as source:
        deque(read_lines(source, IntakeLimits(), frozenset()), maxlen=0)
    return lines / (time.perf_counter() - began)


def durable_per_s(folder: Path, database_url: str, file: Path, lines: int) -> float:
    """Submit a file as the API does, from its spool to the sealed batch."""
    folder.mkdir(parents=True, exist_ok=True)
    catalog = write_catalog(folder / "catalog.toml", "http://127.0.0.1:9")
    settings = Settings(
        _env_file=None, home=folder / "home", database_url=database_url, catalog=catalog
    )
    settings.home_dir.mkdir(parents=True, exist_ok=True)
    migrations.upgrade(settings.resolved_database_url)
    context = bootstrap.build(settings)
    with context.database.transaction() as connection:
        projects.create(connection, _PROJECT, utc_now())
    try:
        with context.spool() as spool:
            spool.write(file.read_bytes())
            with _as_in_the_api():
                began = time.perf_counter()
                context.submission.submit(spool, Options(_PROJECT))
                return lines / (time.perf_counter() - began)
    finally:
        context.database.close()


@contextmanager
def _as_in_the_api() -> Iterator[None]:
    """Python runs as in a process of the API, and afterwards as before."""
    turn, thresholds = sys.getswitchinterval(), gc.get_threshold()
    interpreter.prepare(interpreter.IN_THE_API)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(turn)


def exported_per_s(database_url: str, lines: int) -> float:
    """Write the results of an ended batch as JSON lines, to nowhere."""
    migrations.upgrade(database_url)
    database = Database(database_url)
    try:
        number = ended_batch(database, lines)
        reader = ResultReader(database)
        began = time.perf_counter()
        deque(reader.stream(number, Format.JSONL), maxlen=0)
        return lines / (time.perf_counter() - began)
    finally:
        database.close()


def input_file(folder: Path, lines: int) -> Path:
    """A file of so many lines."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_jsonl(folder / "intake.jsonl", lines)
