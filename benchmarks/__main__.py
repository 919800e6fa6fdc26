"""`python -m benchmarks [--quick] [--only NAME ...]`: all contestants side by side in one run.

Ratios are what counts: machines differ, and this one may be busy. Writes bench.txt, bench.json and
bench.svg into `--out`.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from benchmarks import lines, naive
from benchmarks.chats import Chats, catalog_of, chat_provider, first_token, whole
from benchmarks.ours import Ours, Run, flow_figures, promptmill
from benchmarks.report import Report
from benchmarks.surroundings import durable_postgres, responder
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import ValkeyServer

FLOOR, SQLITE, POSTGRES = "floor", "ours, SQLite", "ours, PostgreSQL"
NAIVE, LITELLM = "naive Celery", "LiteLLM Router"
STRAGGLERS, INTAKE, INTERACTIVE = "stragglers", "intake", "interactive"
FIRST = "first answer"
EVERYTHING = (FLOOR, SQLITE, POSTGRES, NAIVE, LITELLM, STRAGGLERS, INTAKE, INTERACTIVE, FIRST)
LITELLM_VERSION = "1.105.3"
LATENCY_S = 0.2
IN_FLIGHT = 256
CHAT_MS = 100
LONG_FILE = 100_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    calls: int
    jobs: int
    naive: int
    stragglers: int
    lines: int
    asked: int


QUICK = Sizes(calls=4_000, jobs=4_000, naive=800, stragglers=4_000, lines=50_000, asked=40)
FULL = Sizes(calls=20_000, jobs=30_000, naive=4_000, stragglers=20_000, lines=500_000, asked=100)


class Bench:
    """One run."""

    def __init__(self, folder: Path, url: str, options: argparse.Namespace) -> None:
        self._folder = folder
        self._url = url
        self._sizes = QUICK if options.quick else FULL
        if options.jobs:
            self._sizes = replace(self._sizes, jobs=options.jobs, stragglers=options.jobs)
        self._workers: int = options.workers
        self._foreign: str = options.provider
        self._scratch: Path = options.out / "litellm-venv"
        self._wanted: Sequence[str] = options.only or EVERYTHING
        self._may_install = not options.quick
        self.report = Report(_machine())

    def run(self) -> None:
        """Everything that is wanted, in order."""
        calls = str(self._sizes.calls)
        module = (sys.executable, "-m", "benchmarks.floor")
        self._contest(FLOOR, lambda: self._alone((*module, self._provider(), calls)))
        if self._is_wanted(SQLITE, STRAGGLERS):
            self._on_sqlite()
        with ExitStack() as stack:
            if self._is_wanted(POSTGRES, NAIVE, INTAKE, INTERACTIVE, FIRST):
                postgres = stack.enter_context(durable_postgres())
                self._on_postgres(postgres)
                if self._is_wanted(INTERACTIVE):
                    self._interactive("SQLite", "")
                    self._interactive("PostgreSQL", postgres.url(postgres.create_database()))
                if self._is_wanted(FIRST):
                    self._first_answer("SQLite", "")
                    self._first_answer("PostgreSQL", postgres.url(postgres.create_database()))
                self._contest(NAIVE, lambda: self._naive(postgres))
                self._intake(postgres)
        if self._is_wanted(LITELLM):
            self._litellm()

    @property
    def _is_watched(self) -> bool:
        """Only the responder tells what it saw."""
        return not self._foreign

    def _is_wanted(self, *names: str) -> bool:
        return any(name in self._wanted for name in names)

    def _contest(self, name: str, run: Callable[[], Run]) -> None:
        if not self._is_wanted(name):
            return
        self.report.runs[name] = made = run()
        _say(f"{name}: {made.jobs_per_s:,.0f} jobs/s, {made.total_cpu_ms:.2f} CPU-ms a job")
        if made.flow is not None:
            self._flow(name, made)

    def _flow(self, name: str, run: Run) -> None:
        for figure, value in flow_figures(run).items():
            self._figure(f"{name}: {figure}", value)

    def _figure(self, name: str, value: float) -> None:
        self.report.figures[name] = value
        _say(f"{name}: {value:,.2f}")

    def _provider(self, pace: str = f"{LATENCY_S * 1000:.0f}") -> str:
        return self._foreign or f"{self._url}/{pace}/v1"

    def _alone(self, command: Sequence[str]) -> Run:
        """A contestant that is one process and tells its own figures."""
        done = subprocess.run(
            [*command, str(IN_FLIGHT)], check=True, capture_output=True, text=True
        )
        told = orjson.loads(done.stdout.splitlines()[-1])
        cpu_ms = {"process": told["cpu_s"] * 1000 / told["jobs"]}
        memory = {"process": told["peak_mb"]}
        return Run(told["jobs"], told["wall_s"], cpu_ms, memory, IN_FLIGHT)

    def _on_sqlite(self) -> None:
        with self._ours("sqlite", "", self._provider()) as mill:
            self._contest(SQLITE, lambda: mill.run(self._sizes.jobs, watched=self._is_watched))
        if not self._is_wanted(STRAGGLERS):
            return
        if self._foreign:
            self.report.skipped[STRAGGLERS] = "only the responder has slow calls"
            return
        with self._ours("stragglers", "", self._provider(f"{LATENCY_S * 1000:.0f}x2")) as mill:
            self._flow(STRAGGLERS, mill.run(self._sizes.stragglers, watched=True))

    def _on_postgres(self, postgres: PostgresServer) -> None:
        if not self._is_wanted(POSTGRES):
            return
        url = postgres.url(postgres.create_database())
        with self._ours("postgres", url, self._provider()) as mill:
            self._contest(POSTGRES, lambda: mill.run(self._sizes.jobs, watched=self._is_watched))
            lines_per_s = mill.export_lines_per_s(self._sizes.jobs)
            self._figure("export, PostgreSQL, over HTTP: lines/s", lines_per_s)

    def _interactive(self, database: str, url: str) -> None:
        """Chats, idle and beside a batch: what is added to the provider's own time."""
        with chat_provider(CHAT_MS) as simulator:
            more = catalog_of(simulator)
            with self._ours(f"chats-{database}", url, self._provider(), more) as mill:
                chats, asked = Chats(mill, simulator), self._sizes.asked
                for name, measured in (
                    ("first token, idle", chats.idle(asked, first_token)),
                    ("whole, idle", chats.idle(asked, whole)),
                    ("whole, beside a batch", chats.beside_a_batch(asked, whole)),
                ):
                    self._figure(f"chat, {database}, {name}: ms added, p50", measured.p50)
                    self._figure(f"chat, {database}, {name}: ms added, p95", measured.p95)

    def _first_answer(self, database: str, url: str) -> None:
        """How long the first line of a long file waits, by when its jobs may begin."""
        with self._ours(f"first-{database}", url, self._provider()) as mill:
            for start in ("complete", "early"):
                first_s, taken_in_s = mill.first_answer(LONG_FILE, start)
                what = f"{LONG_FILE:,} lines, {database}, {start}"
                self._figure(f"{what}: s to the first answer", first_s)
                self._figure(f"{what}: s until all are in", taken_in_s)

    def _naive(self, postgres: PostgresServer) -> Run:
        broker = ValkeyServer()
        broker.start()
        try:
            url = postgres.url(postgres.create_database())
            queue = broker.url.replace("unix://", "redis+socket://")
            folder = self._folder / "naive"
            return naive.run(folder, queue, url, self._provider(), self._sizes.naive)
        finally:
            broker.remove()

    def _intake(self, postgres: PostgresServer) -> None:
        if not self._is_wanted(INTAKE):
            return
        folder, count = self._folder / "intake", self._sizes.lines
        file = lines.input_file(folder, count)
        self._figure("intake parsed: lines/s", lines.parsed_per_s(file, count))
        for name, url in (
            ("SQLite", f"sqlite:///{folder / 'intake.db'}"),
            ("PostgreSQL", postgres.url(postgres.create_database())),
        ):
            rate = lines.durable_per_s(folder / name, url, file, count)
            self._figure(f"intake durable, {name}: lines/s", rate)
            self._figure(f"export, {name}: lines/s", lines.exported_per_s(url, count))

    def _litellm(self) -> None:
        python = self._scratch / "bin" / "python"
        if not python.exists() and not (self._may_install and _install_litellm(self._scratch)):
            self.report.skipped[LITELLM] = f"litellm {LITELLM_VERSION} is not in {self._scratch}"
            return
        script = str(Path(__file__).with_name("litellm_router.py"))
        calls = str(self._sizes.naive)
        self._contest(LITELLM, lambda: self._alone((str(python), script, self._provider(), calls)))

    @contextmanager
    def _ours(self, name: str, url: str, provider: str, more: str = "") -> Iterator[Ours]:
        folder = self._folder / name
        made = promptmill(folder, url, provider, self._workers, IN_FLIGHT, more=more)
        with made as mill:
            yield mill


def _install_litellm(scratch: Path) -> bool:
    _say(f"installing litellm {LITELLM_VERSION} into {scratch}")
    wanted = f"litellm=={LITELLM_VERSION}"
    for command in (
        (sys.executable, "-m", "venv", str(scratch)),
        (str(scratch / "bin" / "pip"), "install", "--quiet", wanted),
    ):
        if subprocess.run(command, check=False, capture_output=True).returncode:
            shutil.rmtree(scratch, ignore_errors=True)
            return False
    return True


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    parser.add_argument(
        "--only", nargs="+", choices=EVERYTHING, metavar="NAME", help=f"of: {'; '.join(EVERYTHING)}"
    )
    parser.add_argument("--jobs", type=int, help="of ours, in each batch")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of ours")
    parser.add_argument(
        "--provider",
        default="",
        metavar="URL",
        help="another provider on the OpenAI wire, with its /v1, instead of the responder: it sets "
        "the latency, and is told of nothing but chat completions",
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pmb-"))
    try:
        with responder(folder) as url:
            bench = Bench(folder, url, options)
            bench.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bench.report.write(options.out)
    print(bench.report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
