"""`python -m benchmarks.limit_ways [--only WORD] [--seconds N]`: the whole mill, limited otherwise.

Three workers on the providers of `benchmarks.doubles`, each with a model and a batch of its own, a
few in one mill at the same time: limits by the second, minutes that begin with the first call,
Retry-After as a date or in milliseconds or not at all, tokens as asked, limits that change, input
and output apart. The catalog names the limits as their vendor's page would. Told is what was let
in, in percent of what was allowed, and the share refused. Exit code 1 under 97 % or from 1 % on.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson

from benchmarks.doubles import RPM, TPM, Kind, kinds
from benchmarks.load import prompt
from benchmarks.ours import promptmill, roots
from benchmarks.process_cost import counted
from producer.local.processes import start_child

_LEAST_USED, _MOST_REFUSED = 97.0, 1.0
_MAX_TOKENS = 256


@contextmanager
def _doubles(folder: Path) -> Iterator[str]:
    ready = folder / "ready"
    command = [sys.executable, "-m", "benchmarks.doubles", str(ready)]
    child = start_child("doubles", command, log=folder / "log", cwd=Path.cwd())
    try:
        while not ready.exists() or not ready.read_text():
            time.sleep(0.02)
        yield ready.read_text()
    finally:
        child.kill()


def _of_catalog(kind: Kind, url: str) -> str:
    """A provider and its model, as the vendor's page would have one set them."""
    wire = "anthropic" if kind.name == "anthropic" else "openai"
    base = f"{url}/{kind.name}" + ("/v1" if wire == "openai" else "")
    limits = [f"rpm = {RPM:.0f}"] if kind.main == "requests" else [f"tpm = {TPM:.0f}"]
    limits = [f"rpm = {10 * RPM:.0f}"] if kind.main == "output" else limits
    return "\n".join(
        (
            f'[providers.{kind.name}]\nwire = "{wire}"\nbase_url = "{base}"',
            *limits,
            f'[models."{kind.name}"]\nprovider = "{kind.name}"\ntier = "cheap"\nquality = 0.6',
            "input_usd_per_mtok = 0.2\noutput_usd_per_mtok = 1\ncontext_window = 128000",
            "max_output_tokens = 8192\n",
        )
    )


def _write(path: Path, model: str, lines: int) -> Path:
    with path.open("wb") as file:
        for i in range(1, lines + 1):
            line = {"prompt": prompt(i), "model": model, "max_tokens": _MAX_TOKENS}
            file.write(orjson.dumps(line) + b"\n")
    return path


Seen = dict[str, list[float]]


def measure(
    given: argparse.Namespace, chosen: Sequence[Kind], folder: Path
) -> Iterator[tuple[Seen, float]]:
    """What every provider saw, after settling and after each span; percent of a core meanwhile."""
    with _doubles(folder) as url, httpx.Client() as http:

        def seen() -> Seen:
            return dict(http.get(f"{url}/seen").json())

        more = "\n".join(_of_catalog(kind, url) for kind in chosen)
        base = f"{url}/warm/v1"
        with promptmill(folder, "", base, given.workers, 256, "", more=more) as mill:
            least_s = given.settle_s + given.spans * given.seconds
            for kind in chosen:
                lines = int(RPM / 60 * (least_s * 1.3 + 30))
                mill.client.submit(_write(folder / f"{kind.name}.jsonl", kind.name, lines))
            time.sleep(given.settle_s)
            yield seen(), 0.0
            for _ in range(given.spans):
                began = time.monotonic()
                with counted(roots) as cost:
                    time.sleep(given.seconds)
                yield seen(), 100 * sum(cost.cpu_s.values()) / (time.monotonic() - began)


def _told(name: str, before: Sequence[float], after: Sequence[float]) -> bool:
    """Print a kind's line; whether it missed."""
    let_in, refused, taken, allowed = (b - a for a, b in zip(before, after, strict=True))
    used, share = 100 * taken / max(1.0, allowed), 100 * refused / max(1.0, let_in + refused)
    missed = used < _LEAST_USED or share >= _MOST_REFUSED
    print(
        f"{name:<20}{let_in:>7.0f} calls{used:>8.1f} % used{share:>8.2f} % refused"
        f"{'  <--' if missed else ''}"
    )
    return missed


def main() -> int:
    """Run and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of a span")
    parser.add_argument("--spans", type=int, default=2)
    parser.add_argument("--together", type=int, default=4, help="kinds in one mill")
    parser.add_argument("--settle-s", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", default=[], help="kinds, by name")
    parser.add_argument("--workers", type=int, default=3, help="worker processes")
    given = parser.parse_args()
    every = [kind for kind in kinds().values() if kind.name != "warm"]
    chosen = [kind for kind in every if not given.only or kind.name in given.only]
    missed = False
    for first in range(0, len(chosen), given.together):
        missed |= _run(given, chosen[first : first + given.together])
    return int(missed)


def _run(given: argparse.Namespace, chosen: Sequence[Kind]) -> bool:
    """A mill for some kinds; whether any of them missed once it had settled."""
    folder = Path(tempfile.mkdtemp(prefix="pmb-"))
    missed = False
    before: Seen = {}
    try:
        for seen, cpu in measure(given, chosen, folder):
            print(f"-- {cpu:.1f} % of a core" if before else "-- from the first call")
            for kind in chosen:
                zeros = [0.0] * 4
                is_under = _told(kind.name, before.get(kind.name, zeros), seen[kind.name])
                missed |= is_under and bool(before)
            before = seen
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
