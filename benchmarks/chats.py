"""What the mill adds to a chat completion: the same request to the provider directly and through
the API, in turn, so that a busy machine is busy for both.

The provider of the chats is the simulator, on a model of its own that no batch is routed to; both
sides keep their connection alive.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Final

import httpx

from benchmarks.load import write_jsonl
from benchmarks.ours import Ours
from tests.servers.simulator import SimulatorServer

MODEL: Final = "chat"
_PRICES: Final = {"input_usd_per_mtok": "900", "output_usd_per_mtok": "900"}
_BODY: Final[dict[str, Any]] = {
    "model": MODEL,
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}
_WARM_UP: Final = 10
_MORE_WHEN_BELOW: Final = 12_000
"""Lines left: what two workers answer in several times the seconds between two looks."""
_LOOK_EVERY: Final = 20

Ask = Callable[[httpx.Client, str], float]
"""Asks once; milliseconds."""


@dataclass(frozen=True, slots=True)
class Added:
    """Milliseconds of each pair, directly and through the mill."""

    direct: Sequence[float]
    through: Sequence[float]

    @property
    def added(self) -> list[float]:
        """What the mill added to each."""
        return [b - a for a, b in zip(self.direct, self.through, strict=True)]

    @property
    def p50(self) -> float:
        """The added median."""
        return median(self.added)

    @property
    def p95(self) -> float:
        """The added 95th percentile."""
        return quantiles(self.added, n=20)[-1]


def whole(client: httpx.Client, url: str) -> float:
    """Until the whole answer is there."""
    began = time.perf_counter()
    client.post(url, json=_BODY).raise_for_status()
    return (time.perf_counter() - began) * 1000


def first_token(client: httpx.Client, url: str) -> float:
    """Until the first event of the stream is there; the rest is read, too."""
    began = time.perf_counter()
    first = 0.0
    with client.stream("POST", url, json={**_BODY, "stream": True}) as answer:
        answer.raise_for_status()
        for part in answer.iter_raw():
            if part and not first:
                first = (time.perf_counter() - began) * 1000
    return first


@contextmanager
def chat_provider(latency_ms: float) -> Iterator[SimulatorServer]:
    """A simulator that answers after so long (a stream's first piece after 40 % of it)."""
    simulator = SimulatorServer()
    simulator.start()
    try:
        simulator.set_prices({"models": {MODEL: _PRICES}})
        simulator.set_scenario({"latency_ms": latency_ms})
        yield simulator
    finally:
        simulator.remove()


def catalog_of(simulator: SimulatorServer) -> str:
    """The chats' model for the catalog: so dear and bad that no batch is routed to it."""
    prices = "\n".join(f"{name} = {value}" for name, value in _PRICES.items())
    return (
        f'[providers.simulator]\nwire = "openai"\nbase_url = "{simulator.url}/acme/v1"\n'
        f'[models.{MODEL}]\nprovider = "simulator"\ntier = "high"\nquality = 0.01\n{prices}\n'
        "context_window = 128000\nmax_output_tokens = 8192\n"
    )


class Chats:
    """Chats one after the other, on a running mill."""

    def __init__(self, mill: Ours, simulator: SimulatorServer) -> None:
        self._mill = mill
        self._provider = f"{simulator.url}/acme/v1/chat/completions"
        self._api = f"{mill.mill.api_url}/v1/chat/completions"
        self._key = {"authorization": f"Bearer {mill.mill.key}"}

    def idle(self, calls: int, how: Ask) -> Added:
        """So many pairs, with nothing else to do."""
        return self._measured(calls, how, lambda: None)

    def beside_a_batch(self, calls: int, how: Ask) -> Added:
        """So many pairs beside batches whose lines last until the end; they are then cancelled."""
        ids: list[str] = []

        def keep_full() -> None:
            left = sum(self._mill.client.batch(one).counts.queued for one in ids[-2:])
            if left < _MORE_WHEN_BELOW:
                file = write_jsonl(self._mill.folder / "beside.jsonl", 2 * _MORE_WHEN_BELOW)
                ids.append(self._mill.client.submit(file).id)

        keep_full()
        try:
            return self._measured(calls, how, keep_full)
        finally:
            for one in ids:
                if not self._mill.client.batch(one).is_over:
                    self._mill.client.cancel(one)
            for one in ids:
                self._mill.client.wait(one)

    def _measured(self, calls: int, how: Ask, look: Callable[[], None]) -> Added:
        direct, through = [], []
        with (
            httpx.Client(timeout=60, trust_env=False) as provider,
            httpx.Client(timeout=60, trust_env=False, headers=self._key) as mill,
        ):
            for number in range(calls + _WARM_UP):
                if number % _LOOK_EVERY == 0:
                    look()
                one, other = how(provider, self._provider), how(mill, self._api)
                if number >= _WARM_UP:
                    direct.append(one)
                    through.append(other)
        return Added(direct, through)
