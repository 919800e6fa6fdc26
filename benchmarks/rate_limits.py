"""`python -m benchmarks.rate_limits [--rpm N] [--tpm N] [--seconds N]`: limits held, not hit.

The simulator keeps its limits like a vendor's (buckets of `--burst-s` seconds, or minutes) and
answers 429 above them; the catalog names the same limits. A batch longer than the measured time is
run by several worker processes. Told is what the simulator let in during that time, in percent of
the limit, the share of calls it refused, and what our processes took meanwhile. Exit code 1 under
97 % or from 1 % on. All kinds of limits side by side, without the mill: `benchmarks.limit_kinds`.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.load import write_jsonl
from benchmarks.ours import promptmill, roots
from benchmarks.process_cost import counted
from tests.servers.simulator import SimulatorServer

_LEAST_USED, _MOST_REFUSED = 97.0, 1.0
_TOKENS_A_CALL = 60  # fewer than any call takes: the batch must not end too early


def _prices() -> dict[str, Any]:
    names = [f"bench-{tier}-{kind}" for tier in ("cheap", "mid", "high") for kind in "ab"]
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 5}
    return {"models": dict.fromkeys(names, price)}


def _seen(simulator: SimulatorServer) -> tuple[int, int, int]:
    """Calls let in, their tokens, and calls refused, until now."""
    bill = simulator.bill()
    tokens = sum(m["input_tokens"] + m["output_tokens"] for m in bill["by_model"].values())
    refused = sum(n for name, n in simulator.outcomes().items() if name == "rate_limited")
    return bill["calls"], tokens, refused


def _kept(given: argparse.Namespace) -> dict[str, Any]:
    return {"burst_s": given.burst_s, "window": given.window, "counts": given.counts}


def measure(given: argparse.Namespace, folder: Path) -> tuple[float, float, Mapping[str, float]]:
    """Percent of the limit that was used, percent of the calls that were refused, and percent of a
    core that our processes took, by their names.
    """
    limits = {name: value for name in ("rpm", "tpm") if (value := getattr(given, name))}
    least_s = given.seconds + 2 * given.settle_s
    jobs = int(
        least_s / 60 * min(given.rpm or sys.maxsize, (given.tpm or sys.maxsize) / _TOKENS_A_CALL)
    )
    with ExitStack() as stack:
        simulator = SimulatorServer()
        stack.callback(simulator.remove)
        simulator.start()
        simulator.set_prices(_prices())
        simulator.set_scenario(
            {"latency_ms": given.latency_ms, "limits": [{**_kept(given), **limits}]}
        )
        lines = "".join(f"{name} = {value}\n" for name, value in limits.items())
        url = f"{simulator.url}/bench/v1"
        jobs = max(jobs, given.jobs)
        mill = stack.enter_context(promptmill(folder, "", url, given.workers, 256, lines))
        batch = mill.client.submit(write_jsonl(folder / "prompts.jsonl", jobs))
        time.sleep(given.settle_s)
        began, before = time.monotonic(), _seen(simulator)
        with counted(roots) as cost:
            time.sleep(given.seconds)
        after, took_s = _seen(simulator), time.monotonic() - began
        if mill.client.batch(batch.id).is_over:
            raise RuntimeError("the batch was too short to measure by")
    calls, tokens, refused = (b - a for a, b in zip(before, after, strict=True))
    used = [calls / given.rpm] if given.rpm else []
    used += [tokens / given.tpm] if given.tpm else []
    cpu = {name: 100 * seconds / took_s for name, seconds in cost.cpu_s.items()}
    return max(used) / took_s * 6000, 100 * refused / (calls + refused), cpu


def main() -> int:
    """Run and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rpm", type=int, default=0, help="requests a minute")
    parser.add_argument("--tpm", type=int, default=0, help="tokens a minute")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--burst-s", type=float, default=1.0, help="what the provider lets through at once"
    )
    parser.add_argument("--window", default="bucket", help="or fixed, or sliding: the minute's")
    parser.add_argument("--counts", default="corrected", help="or used: how tokens are counted")
    parser.add_argument("--latency-ms", type=float, default=300.0, help="of a call")
    parser.add_argument("--settle-s", type=float, default=8.0, help="before it is measured")
    parser.add_argument("--jobs", type=int, default=0, help="at least; what waits costs, too")
    parser.add_argument("--workers", type=int, default=3, help="worker processes")
    given = parser.parse_args()
    if not given.rpm and not given.tpm:
        given.rpm = 3000
    folder = Path(tempfile.mkdtemp(prefix="pmb-"))
    try:
        used, refused, cpu = measure(given, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{used:.1f} % of the limit used, {refused:.2f} % of the calls refused, "
        f"{sum(cpu.values()):.1f} % of a core"
    )
    print("of it " + ", ".join(f"{name} {share:.1f}" for name, share in cpu.items()))
    return 0 if used >= _LEAST_USED and refused < _MOST_REFUSED else 1


if __name__ == "__main__":
    sys.exit(main())
