import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

# 0.006 and 0.0005 make costs that are no whole nano-dollars, so rounding shows.
PRICES = """
[models."tiny"]
input_usd_per_mtok = 0.0005
output_usd_per_mtok = 0.0007
cached_input_usd_per_mtok = 0.0001
cache_write_usd_per_mtok = 0.0006

[models."large"]
upstream = "large-upstream"
input_usd_per_mtok = 2
output_usd_per_mtok = 12.5
"""


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of this package and the address it says it listens on."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()


@pytest.fixture(scope="session")
def simulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    prices: Path = tmp_path_factory.mktemp("simulator") / "prices.toml"
    prices.write_text(PRICES)
    with started("simulator", "--prices", str(prices)) as (_, url):
        yield url


@pytest.fixture
def provider(simulator_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator_url, timeout=20) as client:
        client.put("/_simulator/scenario", json={}).raise_for_status()
        client.post("/_simulator/reset").raise_for_status()
        yield client
