"""A whole Promptmill (`promptmill up`) on the simulator's four wires, for people's OpenAI code."""

import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import psutil

from producer.local.processes import ChildProcess, start_child
from tests.mill import MODELS, prices, write_catalog
from tests.servers.simulator import SimulatorServer

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


class OpenaiMill:
    """One running system with two workers, on SQLite and the embedded Redis."""

    def __init__(self, simulator: SimulatorServer) -> None:
        self.simulator = simulator
        self.folder = Path(tempfile.mkdtemp(prefix="pmo-"))
        self.home = self.folder / "home"
        self._child: ChildProcess | None = None
        self.address = ""
        self.http = httpx.Client(timeout=PATIENCE_S, trust_env=False)

    def start(self) -> None:
        catalog = write_catalog(self.folder / "catalog.toml", self.simulator.url)
        keys = {f"{provider.upper()}_API_KEY": "test-key" for provider, *_ in MODELS.values()}
        env = {
            **os.environ,
            **keys,
            "PYTHONPATH": str(ROOT),
            "PROMPTMILL_HOME": str(self.home),
            "PROMPTMILL_CATALOG": str(catalog),
            "PROMPTMILL_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8",
        }
        words = ("up", "--port", "0", "--flower-port", "0", "--workers", "2", "--no-simulator")
        command = (sys.executable, "-m", "producer.cli.main", *words)
        self._child = start_child("up", command, env=env, log=self.folder / "log", cwd=self.folder)
        told = self.home / "api.url"
        deadline = time.monotonic() + PATIENCE_S
        while not told.exists() or not told.read_text().endswith("\n"):
            if not self._child.is_alive or time.monotonic() > deadline:
                raise RuntimeError(f"it did not come up:\n{self._child.log_tail(40)}")
            time.sleep(0.05)
        self.address = told.read_text().strip()
        admin = (self.home / "admin.key").read_text().strip()
        self.http.base_url = httpx.URL(self.address)
        self.http.headers["authorization"] = f"Bearer {admin}"

    def stop(self) -> None:
        """End it as Ctrl-C does, and leave nothing."""
        self.http.close()
        if self._child is not None and self._child.is_alive:
            os.kill(self._child.pid, signal.SIGINT)
            if not self._child.wait(PATIENCE_S):
                self._child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def reset(self) -> None:
        """An empty bill at the catalog's prices, and a provider without faults."""
        self.simulator.reset()
        self.simulator.set_prices(prices())

    def new_key(self) -> str:
        """A key of a project of its own."""
        project = f"p-{uuid.uuid4().hex[:12]}"
        self.http.post("/v1/projects", json={"name": project}).raise_for_status()
        made = self.http.post("/v1/keys", json={"project": project})
        return str(made.raise_for_status().json()["key"])

    def billed_nusd(self) -> int:
        """The providers' own bill."""
        by_model: dict[str, Any] = self.simulator.bill()["by_model"]
        return sum(int(part["cost_nusd"]) for part in by_model.values())

    def running(self, batch_id: str) -> int:
        """How many of a batch's jobs run now."""
        batch = self.http.get(f"/v1/batches/{batch_id}").raise_for_status().json()
        return int(batch["promptmill"]["counts"]["running"])

    def api_process(self) -> psutil.Process:
        """The process that serves the API."""
        assert self._child is not None
        for process in psutil.Process(self._child.pid).children(recursive=True):
            if "producer.api" in process.cmdline():
                return process
        raise AssertionError("no process serves the API")
