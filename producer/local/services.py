"""The programs a Promptmill is made of: how each is started, and how it shows that it is ready.

The same commands stand in docker-compose.yml; a test compares the two.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from producer.local.ports import LOOPBACK
from shared.errors import UnavailableError
from shared.queue.lanes import BATCH_QUEUES, INTERACTIVE_QUEUE
from shared.settings import Settings

FLOWER_USER = "promptmill"
INTERACTIVE_THREADS = 16
"""An interactive chunk is one job, so this many conversations are answered at once a process."""

_CHUNKS_SHOWN = 5000
"""Tasks that Flower keeps in memory, 4 kB each. Of the hundred thousand that it keeps by itself, a
million jobs would fill a fifth."""

_HTTP_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Service:
    """One program. `env` is added to the environment all share; `is_ready` is asked until it says
    yes (None: ready as soon as it runs); `address` is shown to people.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_ready: Callable[[], bool] | None = None
    address: str = ""


def api(port: int, key: str, flower_url: str = "") -> Service:
    """The HTTP API; its console links to Flower."""
    url = f"http://{LOOPBACK}:{port}"
    command = (sys.executable, "-m", "producer.api", "--host", LOOPBACK, "--port", str(port))
    env = {"PROMPTMILL_ADMIN_KEY": key, "PROMPTMILL_FLOWER_URL": flower_url}
    return Service("api", command, env, lambda: answers(f"{url}/health/ready"), url)


def batch_worker(number: int, settings: Settings, run: Path) -> Service:
    """A worker for the lanes of batches."""
    name = f"worker-{number}"
    return _worker(name, f"batch-{number}", BATCH_QUEUES, settings.worker_threads, run)


def interactive_worker(run: Path) -> Service:
    """The worker for what somebody waits for."""
    name = "worker-interactive"
    return _worker(name, "interactive", (INTERACTIVE_QUEUE,), INTERACTIVE_THREADS, run)


def maintenance() -> Service:
    """The repairers, the stager and the sender of webhooks."""
    return Service("maintenance", (sys.executable, "-m", "worker.maintenance"))


def flower(port: int, key: str) -> Service:
    """Flower behind a login; its password travels by the environment, which others cannot read."""
    url = f"http://{LOOPBACK}:{port}"
    options = (
        f"--address={LOOPBACK}",
        f"--port={port}",
        "--purge-offline-workers=60",
        f"--max-tasks={_CHUNKS_SHOWN}",
    )
    env = {
        "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{key}",
        "FLOWER_UNAUTHENTICATED_API": "false",
        "FLOWER_PERSISTENT": "false",
        "FLOWER_INSPECT_TIMEOUT": "2000",
    }
    command = (sys.executable, "-m", "celery", "-A", "worker.app", "flower", *options)
    return Service("flower", command, env, lambda: answers(f"{url}/healthcheck"), url)


def simulator(port: int, prices: Path, scenario: Path | None = None) -> Service:
    """The fake provider, billing at the catalog's prices."""
    url = f"http://{LOOPBACK}:{port}"
    command = [sys.executable, "-m", "simulator", "--host", LOOPBACK, "--port", str(port)]
    command += ["--prices", str(prices)]
    command += ["--scenario", str(scenario or demo_scenario())]
    return Service("simulator", tuple(command), {}, lambda: answers(f"{url}/health"), url)


def demo_scenario() -> Path:
    """Latency, weak answers and a few faults, as the simulator's package ships them."""
    spec = find_spec("simulator")
    package = Path(spec.origin).parent if spec and spec.origin else Path("simulator")
    return package / "scenarios" / "demo.toml"


def answers(url: str) -> bool:
    """Whether a GET is answered with success, now."""
    try:
        with _opener().open(url, timeout=_HTTP_TIMEOUT_S) as response:
            return bool(response.status < 300)  # noqa: PLR2004 - HTTP's own number
    except (OSError, HTTPException):
        return False


def fetch_json(url: str) -> dict[str, Any]:
    """The JSON object at an address of this machine. Raises UnavailableError."""
    try:
        with _opener().open(url, timeout=_HTTP_TIMEOUT_S * 10) as response:
            return dict(json.load(response))
    except (OSError, HTTPException, ValueError) as error:
        raise UnavailableError(f"no answer from {url}: {error}") from error


def _opener() -> urllib.request.OpenerDirector:
    # Without the proxies of the environment: an address on this machine is meant.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def shared_environment(
    settings: Settings, *, simulator_url: str, worker_grace_s: float
) -> dict[str, str]:
    """The environment of all services: absolute paths and resolved addresses, and the provider
    keys that stand in `.env` only.
    """
    named_in_file = {
        name: value
        for name, value in dotenv_values(".env").items()
        if value is not None and not name.startswith("PROMPTMILL_")
    }
    resolved = {
        "PROMPTMILL_HOME": str(settings.home_dir),
        "PROMPTMILL_DATABASE_URL": settings.resolved_database_url,
        "PROMPTMILL_REDIS_URL": settings.resolved_redis_url,
        "PROMPTMILL_BROKER_URL": settings.resolved_broker_url,
        "PROMPTMILL_CATALOG": str(_absolute_catalog(settings)),
        "PROMPTMILL_SIMULATOR_URL": simulator_url,
        "PROMPTMILL_GRACE_S": f"{worker_grace_s:g}",
        "PYTHONUNBUFFERED": "1",
    }
    return named_in_file | dict(os.environ) | resolved


def write_price_list(tables: Mapping[str, Mapping[str, Mapping[str, object]]], path: Path) -> None:
    """Write the catalog's prices as the TOML the simulator reads."""
    lines: list[str] = []
    for name, entry in tables["models"].items():
        lines.append(f"[models.{json.dumps(name)}]")
        lines += [f"{key} = {_toml(value)}" for key, value in entry.items()]
    path.write_text("\n".join(lines) + "\n")


def _toml(value: object) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            return json.dumps(value)


def _absolute_catalog(settings: Settings) -> Path:
    # The default name stays as it is where there is no such file: it means the one shipped.
    return settings.catalog.resolve() if settings.catalog.exists() else settings.catalog


def _worker(name: str, node: str, queues: tuple[str, ...], threads: int, run: Path) -> Service:
    ready = run / f"{name}.ready"
    command = (
        *(sys.executable, "-m", "worker.celery_worker", "--concurrency", str(threads)),
        *("-Q", ",".join(queues), "-n", f"{node}@%h"),
    )
    return Service(name, command, {"PROMPTMILL_READY_FILE": str(ready)}, ready.exists)
