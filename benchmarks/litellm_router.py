"""`python litellm_router.py URL CALLS IN_FLIGHT`: LiteLLM's Router in an asyncio loop.

Run by the interpreter of a scratch environment that has LiteLLM and nothing of ours, so it imports
nothing of ours. No persistence and no budget. Prints its own figures as JSON.
"""

import asyncio
import json
import resource
import sys
import time
from itertools import repeat
from typing import Any

_WARM_UP = 100


async def _run(url: str, calls: int, in_flight: int) -> None:
    import litellm  # type: ignore[import-not-found]  # seconds of start-up, which are not what is measured

    litellm.suppress_debug_info = True
    deployment = {"model": "openai/bench-small", "api_base": url, "api_key": "none"}
    router: Any = litellm.Router([{"model_name": "bench-small", "litellm_params": deployment}])
    await _calls(router, _WARM_UP, in_flight)
    began, cpu = time.perf_counter(), time.process_time()
    await _calls(router, calls, in_flight)
    figures = {
        "jobs": calls,
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }
    print(json.dumps(figures))


async def _calls(router: Any, calls: int, in_flight: int) -> None:
    prompts = repeat("What is the capital of the country number 7 on the list?", calls)

    async def caller() -> None:
        for prompt in prompts:
            await router.acompletion(
                model="bench-small",
                messages=[{"role": "user", "content": prompt}],
                max_tokens=256,
            )

    await asyncio.gather(*(caller() for _ in range(in_flight)))


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
