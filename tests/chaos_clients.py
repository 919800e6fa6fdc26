"""Clients of the chaos: they submit through an API that may die of it, until they are answered."""

import queue
import threading
import time
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import orjson

from producer.local.ports import claim_port
from tests.crash.plant import ADMIN_KEY, Plant

_AGAIN_AFTER_S = 0.3


@dataclass(frozen=True)
class Wish:
    """A file of so many questions, always sent under the same key."""

    project: str
    jobs: int
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Payment:
    """A project's limit of one window is raised to so much."""

    project: str
    window: str
    limit_nusd: int


class Clients:
    """One thread that asks for one thing after the other, each until it is answered; `again`: how
    often something was asked for again.
    """

    def __init__(self, plant: Plant) -> None:
        self.port = claim_port(0, "--port")
        self.again = 0
        self._plant = plant
        self._wishes: queue.Queue[Wish | Payment | None] = queue.Queue()
        self._waiting = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)
        self._thread.start()

    def ask(self, wish: Wish | Payment) -> None:
        """Returns at once."""
        self._waiting += 1
        self._wishes.put(wish)

    @property
    def are_served(self) -> bool:
        """Everything was answered."""
        return not self._waiting

    def stop(self) -> None:
        """Whatever is still being sent is given up."""
        self._stopped.set()
        self._wishes.put(None)
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while (wish := self._wishes.get()) is not None:
            answer = self._until_answered(wish)
            if answer is None:
                return
            if isinstance(wish, Wish):
                statement = "SELECT number FROM batches WHERE id = :id"
                (row,) = self._plant.rows(statement, id=answer["id"])
                self._plant.numbers.append(row.number)
            self._waiting -= 1

    def _until_answered(self, wish: Wish | Payment) -> dict[str, Any] | None:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/v1",
            headers={
                "Authorization": f"Bearer {ADMIN_KEY}",
                "X-Promptmill-Project": wish.project,
            },
            timeout=60,
            trust_env=False,
        ) as client:
            while not self._stopped.is_set():
                try:
                    answer = _asked(client, wish)
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code < 500:
                    assert answer.is_success, answer.text
                    return dict(answer.json())
                self.again += 1
                time.sleep(_AGAIN_AFTER_S)
        return None


def _asked(client: httpx.Client, wish: Wish | Payment) -> httpx.Response:
    if isinstance(wish, Payment):
        usd = str(Decimal(wish.limit_nusd) / 10**9)
        return client.put("/budget", json={f"{wish.window}_usd": usd})
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": wish.key}
    return client.post("/batches", content=_file(wish), headers=headers)


def _file(wish: Wish) -> bytes:
    return b"\n".join(
        orjson.dumps(
            {
                "prompt": f"Question {n} of {wish.key}: what is {n} + 1?",
                "model": "tiny",
                "max_tokens": 40,
            }
        )
        for n in range(1, wish.jobs + 1)
    )
