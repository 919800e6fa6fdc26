"""A whole Promptmill as people start it (`promptmill up`), asked by its command line and by HTTP.

Its providers are the simulator's four wires under a catalog of our own, so that budgets, bills and
errors are those of real providers; nothing of the product is reached but by its outside.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from producer.local.processes import ChildProcess, start_child
from tests.mill import MODELS, prices, write_catalog
from tests.servers.simulator import SimulatorServer
from tests.servers.warm_command_line import WarmCommandLine

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
JSONL = "application/x-ndjson"
_COMMAND = (sys.executable, "-m", "producer.cli.main")

Json = dict[str, Any]


class WholeMill:
    """One running system; `urls` are its database and Redis where not the embedded ones."""

    def __init__(
        self, simulator: SimulatorServer, urls: Mapping[str, str], *, provider_extras: str = ""
    ) -> None:
        self.simulator = simulator
        self.folder = Path(tempfile.mkdtemp(prefix="pma-"))
        self.home = self.folder / "home"
        catalog = write_catalog(
            self.folder / "catalog.toml", simulator.url, provider_extras=provider_extras
        )
        keys = {f"{provider.upper()}_API_KEY": "test-key" for provider, *_ in MODELS.values()}
        self.env = {
            **os.environ,
            **keys,
            **urls,
            "PYTHONPATH": str(ROOT),
            "PROMPTMILL_HOME": str(self.home),
            "PROMPTMILL_CATALOG": str(catalog),
            "PROMPTMILL_PATIENCE_S": "5",
            "PROMPTMILL_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8",
        }
        self._child: ChildProcess | None = None
        self._commands = WarmCommandLine()
        self._files = 0
        self.address = self.admin_key = ""

    def start(self) -> None:
        """Come up with two workers: 64 threads, and up to 512 calls in flight."""
        words = ("up", "--port", "0", "--flower-port", "0", "--workers", "2", "--no-simulator")
        self._child = start_child(
            "up", (*_COMMAND, *words), env=self.env, log=self.folder / "log", cwd=self.folder
        )
        address = self.home / "api.url"
        deadline = time.monotonic() + PATIENCE_S
        while not address.exists() or not address.read_text().endswith("\n"):
            if not self._child.is_alive or time.monotonic() > deadline:
                raise RuntimeError(f"it did not come up:\n{self._child.log_tail(40)}")
            time.sleep(0.05)
        self.admin_key = (self.home / "admin.key").read_text().strip()
        self.address = address.read_text().strip()
        self.http = httpx.Client(
            base_url=self.address,
            headers={"authorization": f"Bearer {self.admin_key}"},
            timeout=PATIENCE_S,
            trust_env=False,
        )

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit code."""
        assert self._child is not None
        self.http.close()
        self._commands.close()
        os.kill(self._child.pid, signal.SIGINT)
        ended = self._child.wait(PATIENCE_S)
        code = self._child.exit_code
        if not ended or code is None:
            self._child.kill()
            raise RuntimeError(f"it did not stop:\n{self._child.log_tail(40)}")
        shutil.rmtree(self.folder, ignore_errors=True)
        return code

    def reset(self) -> None:
        """An empty bill at the catalog's prices, and a provider without faults."""
        self.simulator.reset()
        self.simulator.set_prices(prices())

    def heal(self) -> None:
        """Ask each provider whose circuit a test left open until it is closed again."""
        deadline = time.monotonic() + PATIENCE_S
        while sick := [row for row in self._providers() if row["state"] != "healthy"]:
            assert time.monotonic() < deadline, sick
            batch = self.submit(
                [{"prompt": "Are you well?", "model": r["models"][0]} for r in sick]
            )
            self.ended(batch["id"])

    def _providers(self) -> list[Json]:
        return list(self.http.get("/v1/providers").json()["data"])

    def call(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """One command of the command line, whatever its exit code."""
        return self._commands.run(words, cwd=self.folder, env=self.env, timeout_s=PATIENCE_S)

    def say(self, *words: str) -> str:
        """One command that succeeds; what it printed."""
        done = self.call(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words: str) -> Any:
        """One command that succeeds, with `--json`."""
        return json.loads(self.say(*words, "--json"))

    def file(self, content: bytes | Sequence[Json]) -> str:
        """A file of lines to submit; its name."""
        self._files += 1
        path = self.folder / f"lines-{self._files}.jsonl"
        if not isinstance(content, bytes):
            content = b"".join(json.dumps(line).encode() + b"\n" for line in content)
        path.write_bytes(content)
        return str(path)

    def submit(self, content: bytes | Sequence[Json], *options: str) -> Json:
        """What `submit --json` says."""
        return dict(self.json("submit", self.file(content), *options))

    def project(self) -> str:
        """A new project's id."""
        return str(self.json("project", "create", f"p-{uuid.uuid4().hex[:12]}")["id"])

    def batch(self, batch_id: str) -> Json:
        """The batch object over HTTP."""
        answer = self.http.get(f"/v1/batches/{batch_id}")
        answer.raise_for_status()
        return dict(answer.json())

    def counts(self, batch_id: str) -> dict[str, int]:
        """How many of its jobs are in which state."""
        return dict(self.batch(batch_id)["promptmill"]["counts"])

    def until(self, batch_id: str, reached: Callable[[Json], bool]) -> Json:
        """Look until the batch is as wished; fails after long."""
        deadline = time.monotonic() + PATIENCE_S
        while not reached(batch := self.batch(batch_id)):
            assert time.monotonic() < deadline, batch
            time.sleep(0.05)
        return batch

    def ended(self, batch_id: str) -> Json:
        """Wait for the batch's end."""
        return self.until(
            batch_id, lambda batch: batch["status"] in {"completed", "failed", "cancelled"}
        )

    def results(self, batch_id: str) -> list[Json]:
        """The result lines, as the command line writes them."""
        return [json.loads(line) for line in self.say("results", batch_id).splitlines()]

    def cost_by_model(self, batch_id: str) -> dict[str, int]:
        """The report's cost rows, where a model cost anything."""
        rows = self.json("report", batch_id)["by_model"]
        return {row["model"]: row["cost_nusd"] for row in rows if row["cost_nusd"]}

    def billed_by_model(self) -> dict[str, int]:
        """The providers' own bill."""
        by_model = self.simulator.bill()["by_model"]
        return {name: part["cost_nusd"] for name, part in by_model.items() if part["cost_nusd"]}

    def new_key(self) -> str:
        """A key of a project of its own."""
        project = f"p-{uuid.uuid4().hex[:12]}"
        self.http.post("/v1/projects", json={"name": project}).raise_for_status()
        made = self.http.post("/v1/keys", json={"project": project})
        return str(made.raise_for_status().json()["key"])

    def billed_nusd(self) -> int:
        """The providers' own bill."""
        return sum(self.billed_by_model().values())

    def api_process(self) -> psutil.Process:
        """The process that serves the API."""
        assert self._child is not None
        for process in psutil.Process(self._child.pid).children(recursive=True):
            if "producer.api" in process.cmdline():
                return process
        raise AssertionError("no process serves the API")
