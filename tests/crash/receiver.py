"""A webhook receiver as a process of its own, which checks every signature."""

import sys
from pathlib import Path
from typing import Any

import httpx

from producer.local.processes import start_child
from tests.servers.waiting import wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Started at once; `child` is for killing it."""

    def __init__(self, folder: Path) -> None:
        ready = folder / "receiver"
        command = [sys.executable, "-m", "simulator.webhook_receiver", "--secret", SECRET]
        command += ["--ready-file", str(ready)]
        self.child = start_child("receiver", command, log=folder / "receiver.log")
        wait_for(ready.exists, "the receiver is ready")
        self.url = ready.read_text().strip()

    def events(self) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/_receiver/events", timeout=10)
        return list(answer.json()["events"])

    def behave(self, **behaviour: Any) -> None:
        """Answer so (`simulator.webhook_receiver`); nothing given: as it should again."""
        answer = httpx.put(f"{self.url}/_receiver/behaviour", json=behaviour, timeout=10)
        answer.raise_for_status()
