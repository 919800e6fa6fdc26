"""`python -m benchmarks.limit_kinds [--seconds N] [--only WORD]`: every kind of limit at once.

The throttle alone, without database and HTTP, so that a minute of all kinds costs little: per kind
a key of its own, three throttles as in three workers, each with callers that never stop asking, and
a provider of `simulator.limits` in memory. What lies between a call's admission and its departure
in a worker (the reservation, two commits) is a random wait with a long tail; `--stall-s` stops
everything now and then, as a busy machine does. Told is what was let in, in percent of the limit,
and the share refused. The whole mill is `benchmarks.rate_limits`.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis

from shared.catalog.spec import ProviderSpec, WireName
from simulator.exchange import Ask
from simulator.limits import Limits
from simulator.scenario import Limit, Match
from tests.servers.valkey import ValkeyServer
from worker.providers.errors import Throttled
from worker.providers.throttle import Delay, Permit, Throttle

_WORKERS: Final = 3
_RPM, _TPM = 3000.0, 200_000.0
_INPUT: Final = 40


@dataclass(slots=True)
class Kind:
    """A provider's way to limit, and what it saw."""

    name: str
    limit: Limit
    latency_s: float = 0.3
    most: int = 200
    outputs: tuple[int, int] = (10, 50)
    let_in: int = 0
    tokens: int = 0
    refused: int = 0
    paused_until: float = 0.0
    seen: tuple[int, int, int] = (0, 0, 0)
    out: random.Random = field(default_factory=lambda: random.Random(5))

    def mark(self) -> None:
        """Measure from now on."""
        self.seen = (self.let_in, self.tokens, self.refused)

    def told(self, seconds: float) -> tuple[float, float]:
        """Percent of the limit used, percent refused, since the mark."""
        calls, tokens, refused = (
            now - then
            for now, then in zip((self.let_in, self.tokens, self.refused), self.seen, strict=True)
        )
        used = calls / (self.limit.rpm or 1) if self.limit.rpm else tokens / (self.limit.tpm or 1)
        return used / seconds * 6000, 100 * refused / max(1, calls + refused)


def kinds() -> Iterator[Kind]:
    """What vendors do."""
    windows: dict[str, dict[str, object]] = {
        "bucket 1 s": {"burst_s": 1.0},
        "bucket 5 s": {"burst_s": 5.0},
        "bucket 60 s": {},
        "fixed minute": {"window": "fixed"},
        "sliding minute": {"window": "sliding"},
    }
    for window, how in windows.items():
        yield Kind(f"requests, {window}", Limit(Match(), rpm=_RPM, **how))  # type: ignore[arg-type]
        for counts in ("corrected", "asked", "used"):
            limit = Limit(Match(), tpm=_TPM, counts=counts, **how)  # type: ignore[arg-type]
            yield Kind(f"tokens {counts}, {window}", limit)
    slow = Limit(Match(), tpm=_TPM, burst_s=5.0)
    yield Kind("tokens corrected, bucket 5 s, calls of 1.5 s", slow, latency_s=1.5)
    long = Limit(Match(), tpm=_TPM)
    yield Kind("tokens corrected, bucket 60 s, max_tokens 1024", long, latency_s=1.5, most=1024)
    mute = Limit(Match(), tpm=_TPM, counts="asked", window="fixed", dialect="none")
    yield Kind("tokens asked, fixed minute, no Retry-After", mute)


class Provider:
    """Lets calls in as its kind says."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._limits = Limits([kind.limit])

    async def call(self) -> int:
        """The tokens a call took. Raises Throttled."""
        kind = self._kind
        loop = asyncio.get_running_loop()
        ask = Ask("openai", "m", "", "k", "", 4 * (_INPUT - 4), 1, max_tokens=kind.most)
        await asyncio.sleep(random.expovariate(500))
        admission = self._limits.admit(ask, loop.time())
        if admission.problem is not None:
            kind.refused += 1
            waits = [value for name, value in admission.problem.headers if name == "retry-after"]
            told = float(waits[0]) if waits else None
            raise Throttled("throttled", admission.problem.message, retry_after_s=told)
        used = _INPUT + kind.out.randint(*kind.outputs)
        kind.let_in += 1
        kind.tokens += _INPUT + kind.most if kind.limit.counts == "asked" else used
        await asyncio.sleep(kind.latency_s)
        admission.leave(used)
        return used


class Caller:
    """What a worker does around a call, as far as rates go."""

    def __init__(self, throttle: Throttle, kind: Kind, provider: Provider) -> None:
        self._throttle, self._kind, self._provider = throttle, kind, provider
        self._key = f"{kind.name}:00000000"
        limit = kind.limit
        self._spec = ProviderSpec(
            name=kind.name,
            wire=WireName.OPENAI,
            base_url="http://bench.invalid/v1",
            api_keys=("k",),
            rpm=int(limit.rpm) if limit.rpm else None,
            tpm=int(limit.tpm) if limit.tpm else None,
        )

    async def run(self) -> None:
        """Call for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.0, self._kind.paused_until - loop.time()))
            bound = 4 * _INPUT + self._kind.most
            outcome = await self._throttle.acquire(
                self._spec, self._key, bound, output_tokens=self._kind.most, max_wait_s=15.0
            )
            if isinstance(outcome, Delay):
                await asyncio.sleep(outcome.seconds)
                continue
            await self._attempt(outcome, loop.time() + outcome.wait_s)

    async def _attempt(self, permit: Permit, turn_at: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, turn_at - 0.5 - loop.time()))
        await asyncio.sleep(0.02 + random.expovariate(20))
        await asyncio.sleep(max(0.0, turn_at - loop.time()))
        await self._throttle.depart(permit)
        if self._kind.paused_until > loop.time():
            self._throttle.cancel(permit)
            return
        try:
            used = await self._provider.call()
            self._throttle.correct(permit, used, input_tokens=_INPUT)
        except Throttled as refusal:
            self._throttle.correct(permit, 0)
            self._throttle.refused(permit, refusal)
            if refusal.retry_after_s and refusal.retry_after_s > 2:
                self._kind.paused_until = loop.time() + refusal.retry_after_s
        finally:
            self._throttle.release(permit)


async def _stall(every_s: float, stall_s: float) -> None:
    while stall_s:
        await asyncio.sleep(every_s)
        time.sleep(stall_s)  # noqa: ASYNC251 - the whole point


async def measure(given: argparse.Namespace, url: str) -> list[Kind]:
    """All kinds, side by side."""
    chosen = [kind for kind in kinds() if given.only in kind.name]
    clients = [Redis.from_url(url) for _ in range(_WORKERS)]
    throttles = [Throttle(client) for client in clients]
    tasks: list[asyncio.Task[None]] = []
    for kind in chosen:
        provider = Provider(kind)
        for throttle in throttles:
            callers = (Caller(throttle, kind, provider) for _ in range(given.callers))
            tasks.extend(asyncio.create_task(caller.run()) for caller in callers)
    tasks.append(asyncio.create_task(_stall(given.stall_every_s, given.stall_s)))
    await asyncio.sleep(given.settle_s)
    for kind in chosen:
        kind.mark()
    await asyncio.sleep(given.seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for throttle, client in zip(throttles, clients, strict=True):
        await throttle.aclose()
        await client.aclose()
    return chosen


def main() -> int:
    """Run and tell; 1 where a kind was used under 97 % or refused 1 %."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--settle-s", type=float, default=10.0)
    parser.add_argument("--stall-s", type=float, default=0.0)
    parser.add_argument("--stall-every-s", type=float, default=7.0)
    parser.add_argument("--callers", type=int, default=80, help="a throttle and kind")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    given = parser.parse_args()
    with ExitStack() as stack:
        server = ValkeyServer()
        stack.callback(server.remove)
        server.start()
        chosen = asyncio.run(measure(given, server.url))
    worst = 0
    for kind in chosen:
        used, refused = kind.told(given.seconds)
        missed = used < 97 or refused >= 1
        worst |= missed
        all_refused = 100 * kind.refused / max(1, kind.refused + kind.let_in)
        print(
            f"{kind.name:<50}{used:>8.1f} % used{refused:>8.2f} % refused"
            f"{all_refused:>8.2f} % from the start{'  <--' if missed else ''}"
        )
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
