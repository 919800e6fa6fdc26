"""Fuzz the API by its own OpenAPI page: `python -m tests.fuzz_api [--examples N] [--seed N]`.

A whole mill on the simulator is started and asked by schemathesis, with the admin key, thousands
of times, with good and bad values. Exit code 0: no 5xx, and every answer has the shape, status,
media type and headers that the page tells.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.whole_mill import ROOT, WholeMill
from tests.servers.simulator import SimulatorServer

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "negative_data_rejection",
    "missing_required_header", "unsupported_method", "allow_header_conformance", "ignored_auth",
    "use_after_free",
)  # fmt: skip
"""All but the acceptance of what only looks valid: a schema cannot tell every rule."""
_CASES = re.compile(r"(\d+) generated")


def fuzz(
    mill: WholeMill, *, phases: str, examples: int, seed: int, only: str | None = None
) -> tuple[int, str]:
    """How many cases were tried, and what was printed; raises AssertionError for any finding.

    only: a pattern of paths. Trials of webhooks are left out: each waits for its delivery.
    """
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run",
        f"{mill.address}/openapi.json",
        "--header", f"Authorization: {mill.http.headers['authorization']}",
        "--phases", phases, "--max-examples", str(examples), "--seed", str(seed),
        "--checks", ",".join(CHECKS), "--exclude-path-regex", "/test$", "--no-color",
        "--request-timeout", "60", "--generation-database", "none", "--continue-on-failure",
        "--warnings", "off", "--suppress-health-check", "all",
        *(("--include-path-regex", only) if only else ()),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=mill.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.fuzz_hooks"},
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    found = _CASES.search(told)
    assert found, told
    return int(found[1]), told


def _fuzzed(mill: WholeMill, examples: int, seed: int) -> str:
    mill.start()
    try:
        mill.reset()
        return fuzz(mill, phases="coverage,fuzzing,stateful", examples=examples, seed=seed)[1]
    finally:
        mill.stop()


def main() -> int:
    """Start a mill, fuzz it, tell how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="cases of each operation")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    simulator = SimulatorServer()
    try:
        simulator.start()
        told = _fuzzed(WholeMill(simulator, {}), given.examples, given.seed)
    except AssertionError as error:
        print(error)
        return 1
    finally:
        simulator.remove()
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
