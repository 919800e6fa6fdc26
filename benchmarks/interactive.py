"""`python -m benchmarks.interactive [--calls N] [--postgres]`: what the mill adds to one chat.

On the whole mill as `up` starts it, with two batch workers: idle, and beside a batch whose queue is
full all the time; whole answers, and streamed ones to their first token.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.chats import Added, Chats, catalog_of, chat_provider, first_token, whole
from benchmarks.ours import promptmill
from benchmarks.surroundings import durable_postgres, responder

FIRST_TOKEN_MS, BESIDE_MS = 15.0, 50.0
"""What is aimed at: the median of the first token on the idle mill, and the 95th percentile of
whole answers beside a batch, both added to the provider's own."""
_IN_FLIGHT = 256


def told(name: str, measured: Added) -> str:
    """One line: medians of both, and what was added at the median and the 95th percentile."""
    one, other = sorted(measured.direct), sorted(measured.through)
    middle = len(one) // 2
    return (
        f"{name:<28}{one[middle]:>10.1f}{other[middle]:>10.1f}"
        f"{measured.p50:>12.1f}{measured.p95:>12.1f}"
    )


@contextmanager
def _stand(given: argparse.Namespace) -> Iterator[Chats]:
    folder = Path(tempfile.mkdtemp(prefix="pmb-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        simulator = stack.enter_context(chat_provider(given.latency_ms))
        provider = f"{stack.enter_context(responder(folder))}/{given.batch_latency_ms}/v1"
        database = ""
        if given.postgres:
            postgres = stack.enter_context(durable_postgres())
            database = postgres.url(postgres.create_database())
        more = catalog_of(simulator)
        made = promptmill(folder / "mill", database, provider, given.workers, _IN_FLIGHT, more=more)
        yield Chats(stack.enter_context(made), simulator)


def main() -> int:
    """Run and print a table; 1 where an aim was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--latency-ms", type=float, default=100, help="of a chat")
    parser.add_argument("--batch-latency-ms", type=int, default=200, help="of a batch's call")
    parser.add_argument("--workers", type=int, default=2, help="batch workers")
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    with _stand(given) as chats:
        print(f"{'ms':<28}{'direct':>10}{'mill':>10}{'added p50':>12}{'added p95':>12}")
        measured = []
        for name, run, how in (
            ("idle, whole", chats.idle, whole),
            ("idle, first token", chats.idle, first_token),
            ("beside a batch, whole", chats.beside_a_batch, whole),
            ("beside a batch, first token", chats.beside_a_batch, first_token),
        ):
            measured.append(run(given.calls, how))
            print(told(name, measured[-1]), flush=True)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    _, first, beside, _ = measured
    return 0 if first.p50 < FIRST_TOKEN_MS and beside.p95 < BESIDE_MS else 1


if __name__ == "__main__":
    sys.exit(main())
