"""The fake provider as a process of its own, and what tests ask of it."""

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from producer.local.processes import ChildProcess, start_child

_START_PATIENCE_S = 30.0


class SimulatorServer:
    """One simulator; `reset` gives back an empty bill and a scenario without faults."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pms-"))
        self.url = ""
        self._options = options
        self._child: ChildProcess | None = None
        self._http = httpx.Client(timeout=10)

    def start(self) -> None:
        ready = self.folder / "ready"
        command = [sys.executable, "-m", "simulator", "--port", "0", "--ready-file", str(ready)]
        self._child = start_child(
            "simulator", [*command, *self._options], log=self.folder / "log", cwd=Path.cwd()
        )
        deadline = time.monotonic() + _START_PATIENCE_S
        while not ready.exists():
            if not self._child.is_alive or time.monotonic() > deadline:
                raise RuntimeError(f"the simulator did not start:\n{self._child.log_tail()}")
            time.sleep(0.02)
        self.url = ready.read_text().strip()

    def reset(self) -> None:
        self.set_scenario({"latency_ms": 0})
        self._http.post(f"{self.url}/_simulator/reset").raise_for_status()

    def set_scenario(self, scenario: dict[str, Any]) -> None:
        self._http.put(f"{self.url}/_simulator/scenario", json=scenario).raise_for_status()

    def set_prices(self, prices: dict[str, Any]) -> None:
        self._http.put(f"{self.url}/_simulator/prices", json=prices).raise_for_status()

    def bill(self) -> dict[str, Any]:
        return dict(self._get("bill"))

    def calls(self, limit: int = 1000) -> list[dict[str, Any]]:
        answer: Any = self._get(f"calls?limit={limit}")
        return list(answer["calls"] if isinstance(answer, dict) else answer)

    def outcomes(self) -> dict[str, int]:
        """How many calls ended how, since the last reset."""
        answer: Any = self._get("calls?limit=1")
        return dict(answer["by_outcome"])

    def remove(self) -> None:
        self._http.close()
        if self._child is not None:
            self._child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _get(self, path: str) -> Any:
        answer = self._http.get(f"{self.url}/_simulator/{path}")
        answer.raise_for_status()
        return answer.json()
