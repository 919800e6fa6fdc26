"""A small mill for tests: a catalog on the simulator's four wires, a batch in the database, and a
worker process's parts run in this process.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
from sqlalchemy import select

from shared.clock import utc_now
from shared.db.engine import Connection
from shared.db.repositories import awaited, batch_moves, batches, jobs
from shared.db.repositories.batches import NewBatch
from shared.db.repositories.jobs import TakenLine
from shared.db.tables import attempts, projects, results
from shared.db.tables import jobs as jobs_table
from shared.domain.batch import AWAITED_PREFIX, Priority
from shared.domain.inference import Request
from shared.domain.job import job_id_of
from shared.ids import new_id
from shared.settings import Settings
from tests.servers.simulator import SimulatorServer
from worker import bootstrap
from worker.bootstrap import WorkerProcess

MODELS: Mapping[str, tuple[str, str, str, str, str]] = {
    # name: provider, tier, input, output, cached input (USD per million tokens)
    "tiny": ("acme", "cheap", "0.20", "1.20", "0.02"),
    "other-tiny": ("anthropic", "cheap", "0.25", "1.25", "0.03"),
    "middle": ("google", "mid", "2", "12", "0.2"),
    "large": ("cohere", "high", "4.5", "20", "0.45"),
}
_WIRES = {"acme": "openai", "anthropic": "anthropic", "google": "gemini", "cohere": "cohere"}


EMBEDDER = ("embedder", "0.05")
"""A model on the OpenAI wire that makes embeddings, and its input price."""


def write_catalog(
    path: Path,
    url: str,
    models: Mapping[str, tuple[str, str, str, str, str]] = MODELS,
    base_urls: Mapping[str, str] | None = None,
    provider_extras: str = "",
) -> Path:
    """A catalog whose providers are the simulator, one wire each."""
    lines: list[str] = []
    for name in {provider for provider, *_ in models.values()}:
        wire = _WIRES[name]
        base = (base_urls or {}).get(name, f"{url}/{name}" + ("/v1" if wire == "openai" else ""))
        lines += [
            f"[providers.{name}]",
            f'wire = "{wire}"',
            f'base_url = "{base}"',
            f'api_keys = ["env:{name.upper()}_API_KEY"]',
            provider_extras,
        ]
    for name, (provider, tier, given, taken, cached) in models.items():
        lines += [
            f'[models."{name}"]',
            f'provider = "{provider}"',
            f'tier = "{tier}"',
            f"input_usd_per_mtok = {given}",
            f"output_usd_per_mtok = {taken}",
            f"cached_input_usd_per_mtok = {cached}",
            "context_window = 128000",
            "max_output_tokens = 8192",
        ]
    if "acme" in {provider for provider, *_ in models.values()}:
        name, given = EMBEDDER
        lines += [
            f'[models."{name}"]',
            'provider = "acme"',
            'tier = "cheap"',
            f"input_usd_per_mtok = {given}",
            "output_usd_per_mtok = 0",
            'capabilities = ["embeddings"]',
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def prices(models: Mapping[str, tuple[str, str, str, str, str]] = MODELS) -> dict[str, Any]:
    """The same prices for the simulator's own bill."""
    embedder = {"input_usd_per_mtok": EMBEDDER[1], "output_usd_per_mtok": "0"}
    return {
        "models": {
            EMBEDDER[0]: embedder,
            **{
                name: {
                    "input_usd_per_mtok": given,
                    "output_usd_per_mtok": taken,
                    "cached_input_usd_per_mtok": cached,
                }
                for name, (_, _, given, taken, cached) in models.items()
            },
        }
    }


class Mill:
    """A worker on real servers, and batches put straight into the database."""

    def __init__(self, settings: Settings, worker: WorkerProcess) -> None:
        self.settings = settings
        self.worker = worker
        self.database = worker.database
        self.number = 0

    def batch(
        self,
        requests: Sequence[Request],
        *,
        project: str = "acme",
        max_cost_nusd: int | None = None,
        limits: Mapping[str, int] | None = None,
        duplicates: Mapping[int, int] | None = None,
        cache_ttl_s: int | None = None,
    ) -> list[int]:
        """Put a batch into the database; returns its jobs' ids. duplicates: the line each of these
        lines waits for. cache_ttl_s: of the project, where the batch makes it.
        """
        now = utc_now()
        with self.database.transaction() as connection:
            cached = {"cache_ttl_s": cache_ttl_s, "cache_name": project} if cache_ttl_s else {}
            self._make_project(connection, project, limits or {}, **cached)
            self.number = batches.create(
                connection,
                NewBatch(
                    id=new_id("batch"),
                    project_id=project,
                    content_sha256="0" * 64,
                    priority=Priority.BATCH,
                    completion_window="24h",
                    created_at=now,
                    expires_at=now + timedelta(days=1),
                    max_cost_nusd=max_cost_nusd,
                ),
            )
            lines = [
                TakenLine(
                    i,
                    f"c{i}",
                    request.to_json().decode(),
                    duplicate_of=(duplicates or {}).get(i),
                )
                for i, request in enumerate(requests, 1)
            ]
            jobs.insert_lines(connection, self.number, lines, now)
            batches.add_taken(
                connection,
                self.number,
                lines=len(lines),
                rejected=0,
                duplicates=len(duplicates or {}),
            )
            batch_moves.seal(connection, self.number, now)
        return [job_id_of(self.number, i) for i in range(1, len(requests) + 1)]

    def chat(
        self, requests: Sequence[Request], *, limits: Mapping[str, int] | None = None
    ) -> list[int]:
        """Put a batch that somebody waits for into the database, as the API does; returns its
        jobs' ids.
        """
        now = utc_now()
        new = NewBatch(
            id=new_id(AWAITED_PREFIX),
            project_id="acme",
            content_sha256="0" * 64,
            priority=Priority.INTERACTIVE,
            completion_window="60s",
            created_at=now,
            expires_at=now + timedelta(seconds=60),
        )
        lines = [request.to_json().decode() for request in requests]
        with self.database.transaction() as connection:
            self._make_project(connection, "acme", limits or {})
            self.number = awaited.open_batch(connection, new, lines, now + timedelta(seconds=57))
        return [job_id_of(self.number, line) for line in range(1, len(lines) + 1)]

    def _make_project(
        self, connection: Connection, name: str, limits: Mapping[str, int], **columns: Any
    ) -> None:
        """Unless it is there."""
        if connection.execute(select(projects.c.id).where(projects.c.id == name)).first():
            return
        row: dict[str, Any] = {f"{kind}_limit_nusd": limit for kind, limit in limits.items()}
        connection.execute(
            projects.insert().values(id=name, created_at=utc_now(), routing={}, **row, **columns)
        )

    def rows(self, table: Any) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(select(table)).all())

    def results(self) -> list[Any]:
        return sorted(self.rows(results), key=lambda row: row.job_id)

    def attempts(self) -> list[Any]:
        return sorted(self.rows(attempts), key=lambda row: (row.job_id, row.ordinal))

    def statuses(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in self.rows(jobs_table):
            found[row.status] = found.get(row.status, 0) + 1
        return found

    def the_batch(self) -> Any:
        with self.database.reading() as connection:
            return batches.by_number(connection, self.number)


@contextmanager
def running_mill(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    simulator: SimulatorServer,
    *,
    base_urls: Mapping[str, str] | None = None,
    provider_extras: str = "",
    models: Mapping[str, tuple[str, str, str, str, str]] = MODELS,
    **changes: Any,
) -> Iterator[Mill]:
    """A worker process's parts, running in this process."""
    catalog = write_catalog(
        tmp_path / "catalog.toml",
        simulator.url,
        models,
        base_urls=base_urls,
        provider_extras=provider_extras,
    )
    simulator.set_prices(prices(models))
    settings = Settings(
        _env_file=None,
        home=tmp_path / "home",
        database_url=database_url,
        redis_url=redis_url,
        catalog=catalog,
        **changes,
    )
    keys = {f"{name.upper()}_API_KEY": f"key-of-{name}" for name in _WIRES}
    with patch.dict(os.environ, keys):
        worker = bootstrap.build(settings, node="test")
    try:
        yield Mill(settings, worker)
    finally:
        worker.close()


def asking(text: str, **fields: Any) -> Request:
    """A request with one user message."""
    return Request(({"role": "user", "content": text},), **fields)


def text_of_result(row: Any) -> str:
    """The answer's text in a row of `results`."""
    return str(orjson.loads(row.body)["choices"][0]["message"]["content"])
