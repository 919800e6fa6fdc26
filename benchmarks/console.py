"""`python -m benchmarks.console [--jobs N]`: how long each page of the console takes in a browser,
over PostgreSQL with a million jobs.

From the click to the page with its figures, in Debian's Chromium on the same machine, its scripts
cached after the first page; the batch opened is the one that runs.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

import migrations
from benchmarks.growth import PROJECT, grow
from shared.clock import utc_now
from shared.db.engine import Database
from shared.domain.job import job_id_of, public_job_id
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import ValkeyServer

KEY = "the-admin-key-of-this-benchmark"
_PER_BATCH = 10_000
_ROUNDS = 3
_IDLE_S = 6.0
"""After its start, so that it has loaded the pages."""
_SETTINGS = {
    "shared_buffers": "512MB",
    "listen_addresses": "",
    "max_wal_size": "8GB",
    "fsync": "off",
    "synchronous_commit": "off",
}


@contextmanager
def api(env: dict[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    """The API's process on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "producer.api", "--port", str(port))
    log = Path(env["PROMPTMILL_HOME"]) / "api.log"
    with log.open("wb") as told:
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=told, stderr=told)
    try:
        _wait(url)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url}/health/live", timeout=1):  # noqa: S310
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the API did not come up")


def pages(total: int) -> list[str]:
    """What is opened; the last batch runs, the others have ended."""
    last = max(2, total // _PER_BATCH)
    return [
        "/",
        f"/?after=batch_{max(2, last // 2)}",
        f"/batches/batch_{last}",
        f"/batches/batch_{last - 1}",
        f"/jobs/{public_job_id(job_id_of(last - 1, 100))}",
        "/requests",
        "/requests?status=failed",
        "/requests?find=line-77",
        "/requests?find=nobody+says+this",
        f"/requests?find=nobody+says+this&batch=batch_{last - 1}",
        "/costs",
        "/costs?by=task_type",
        "/budgets",
        "/alerts",
        "/providers",
        "/learning",
        "/webhooks",
        "/webhooks/we_1",
        "/upload",
        "/try",
        "/compare",
    ]


def look(page: Page, url: str, path: str) -> float:
    """Seconds from asking for a page until its heading and its first figures are there."""
    page.evaluate("window.isThePageBefore = true")
    began = time.perf_counter()
    page.goto(f"{url}/console{path}", wait_until="commit")
    page.wait_for_function("!window.isThePageBefore && document.querySelector('#content h1')")
    if path.startswith("/requests"):
        page.get_by_role("table", name="Requests").wait_for()
    if path.startswith("/batches/"):  # its sums come when the page stands
        page.locator(".pm-figure", has_text="Saved").locator(".pm-value", has_text="$").wait_for()
    return time.perf_counter() - began


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    total = parser.parse_args().jobs
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no browser here: apt-get install chromium")
        return 1
    postgres, redis = PostgresServer(_SETTINGS), ValkeyServer()
    with tempfile.TemporaryDirectory(prefix="pmb-") as folder:
        try:
            postgres.start()
            redis.start()
            database_url = postgres.url(postgres.create_database())
            _grown(database_url, total)
            env = {
                "PROMPTMILL_HOME": folder,
                "PROMPTMILL_DATABASE_URL": database_url,
                "PROMPTMILL_REDIS_URL": redis.url,
                "PROMPTMILL_ADMIN_KEY": KEY,
                "PROMPTMILL_SIMULATOR_URL": "http://127.0.0.1:9",
            }
            with api(env) as (url, process):
                _measure(url, process, chromium, total)
        finally:
            redis.remove()
            postgres.remove()
    return 0


def _grown(url: str, total: int) -> None:
    migrations.upgrade(url)
    database = Database(url)
    began = time.perf_counter()
    grow(database, max(2, total // _PER_BATCH), _PER_BATCH, total // 10, utc_now())
    database.close()
    print(f"{total:,} jobs of {PROJECT} in {time.perf_counter() - began:.0f} s", flush=True)


def _measure(url: str, process: psutil.Process, chromium: str, total: int) -> None:
    print(f"API before anybody looks: {_mb(process)} MB", flush=True)
    time.sleep(_IDLE_S)
    print(f"API once it had nothing to do: {_mb(process)} MB", flush=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{url}/console/login")
        page.get_by_label("API key").fill(KEY)
        began = time.perf_counter()
        page.keyboard.press("Enter")
        page.locator("#content h1").wait_for()
        print(f"the first page after the start: {time.perf_counter() - began:.2f} s")
        for path in pages(total):
            took = sorted(look(page, url, path) for _ in range(_ROUNDS))
            print(f"{path:<58} {took[_ROUNDS // 2]:.2f} s (longest {took[-1]:.2f} s)", flush=True)
        browser.close()
    print(f"API afterwards: {_mb(process)} MB", flush=True)


def _mb(process: psutil.Process) -> int:
    return round(process.memory_info().rss / 1e6)


if __name__ == "__main__":
    sys.exit(main())
