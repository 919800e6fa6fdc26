"""`python -m benchmarks.floor URL CALLS IN_FLIGHT`: what the calls themselves cost.

A bare asyncio loop on uvloop, httpx on the aiohttp transport, and no persistence: nothing that
calls by httpx can cost less. Prints its own figures as JSON.
"""

import asyncio
import sys
import time

import aiohttp
import httpx
import orjson
import psutil
import uvloop
from httpx_aiohttp import AiohttpTransport

from benchmarks.load import body

_WARM_UP = 300


async def _run(url: str, calls: int, in_flight: int) -> None:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    async with httpx.AsyncClient(transport=AiohttpTransport(client=session), timeout=60) as client:
        await _calls(client, url, _WARM_UP, in_flight)
        began, cpu = time.perf_counter(), time.process_time()
        await _calls(client, url, calls, in_flight)
        figures = {
            "jobs": calls,
            "wall_s": time.perf_counter() - began,
            "cpu_s": time.process_time() - cpu,
            "peak_mb": psutil.Process().memory_full_info().pss / 1e6,
        }
    sys.stdout.write(orjson.dumps(figures).decode() + "\n")


async def _calls(client: httpx.AsyncClient, url: str, calls: int, in_flight: int) -> None:
    numbers = iter(range(calls))

    async def caller() -> None:
        for i in numbers:
            response = await client.post(f"{url}/chat/completions", json=body(i))
            if not response.json()["choices"]:
                raise ValueError("no answer")

    await asyncio.gather(*(caller() for _ in range(in_flight)))


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
