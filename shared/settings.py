"""Settings from the environment or `.env`: the only place that reads either.

Deciders never see this object: the composition roots hand them the values they need.
"""

import hashlib
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# A unix socket's path may have 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_LIMIT = 100


class Settings(BaseSettings):
    """Every setting, with its default; each is `PROMPTMILL_` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="PROMPTMILL_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = Path(".promptmill")
    database_url: str = ""
    redis_url: str = ""
    broker_url: str = ""
    files_url: str = ""
    """Where uploaded files are kept: any fsspec URL, such as s3://bucket/folder; several machines
    need one that all of them reach."""
    catalog: Path = Path("catalog.toml")
    simulator_url: str = ""
    """Set by the supervisor: every provider's address is replaced by the simulator's."""

    flower_url: str = ""
    """Where people reach Flower; the console links to it where this is set."""

    console_ahead: bool = True
    """Whether the API loads the console's pages as soon as it has nothing else to do; otherwise the
    first who logs in waits for them, and an API that nobody looks at is 50 MB smaller."""

    admin_key: SecretStr | None = None
    api_url: str = ""
    api_key: SecretStr | None = None

    max_line_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    max_batch_lines: Annotated[int, Field(ge=1, le=16_000_000)] = 1_000_000
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024**3

    intake_starts_after_lines: Annotated[int, Field(ge=0)] = 2_000
    """After how many lines of a submission the first of them may run while the others are still
    being sent; 0: only once the last one is in."""

    chunk_size: Annotated[int, Field(ge=1, le=1000)] = 100
    worker_threads: Annotated[int, Field(ge=1, le=512)] = 64
    max_in_flight: Annotated[int, Field(ge=1, le=4096)] = 256
    batch_niceness: Annotated[int, Field(ge=0, le=19)] = 10
    """How far workers for batches give way to the API, the interactive worker and the servers where
    they share a machine: the nice value they add to theirs."""
    pilot_from_lines: Annotated[int, Field(ge=0)] = 0
    """From how many lines on a batch is tried on every tier before the rest runs; 0: where that
    is asked for."""
    lease_s: Annotated[float, Field(gt=0)] = 15.0
    grace_s: Annotated[float, Field(ge=0)] = 30.0
    patience_s: Annotated[float, Field(ge=0)] = 60.0
    """How long a job waits for providers that are down before it fails; rate limits and
    account-level refusals do not count, they are waited out."""
    answer_within_s: Annotated[int, Field(ge=1, le=86_400)] = 600
    """How long a client of a chat completion is kept waiting before it is called off."""
    max_deaths: Annotated[int, Field(ge=1)] = 3
    """How many workers a prompt may kill before it is set aside; workers that die of other things
    do not count (`shared.domain.blame`)."""

    classifiers: dict[str, str] = {}
    """Classifiers of others: JSON, project id (or "*") to import path, `package.module:name`."""
    difficulties: dict[str, str] = {}
    """The same for difficulty functions."""

    webhook_allowed_cidrs: Annotated[tuple[str, ...], NoDecode] = ()
    alert_webhook_url: SecretStr = SecretStr("")
    """Where the maintenance tells of what somebody should look at: budgets, sick providers, stuck
    queues, failing webhooks."""
    alert_webhook_secret: SecretStr = SecretStr("")
    """`whsec_...`: signs those as our other webhooks are signed."""
    alert_slack_url: SecretStr = SecretStr("")
    """The same as a text for Slack and what takes its incoming webhooks."""
    alert_mail_to: Annotated[tuple[str, ...], NoDecode] = ()
    alert_mail_from: str = ""
    smtp_url: SecretStr = SecretStr("")
    """`smtp://` or `smtps://`, with the login where there is one."""

    retention_days: Annotated[int, Field(ge=1)] = 30

    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Where a worker or the maintenance shows its own figures to Prometheus, without a key; 0: it
    does not. For processes that share no home with the API, such as pods."""

    trace_jobs: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Which share of a batch's jobs is traced where tracing is on (OTEL_EXPORTER_OTLP_ENDPOINT)."""
    trace_sent_to: Annotated[tuple[str, ...], NoDecode] = ()
    """Who is told of the trace in the header `traceparent`: names of providers, and `webhooks`."""

    log_level: str = Field("info", validation_alias=AliasChoices("PROMPTMILL_LOG_LEVEL"))
    log_json: bool = True
    log_prompts: bool = False

    @field_validator("webhook_allowed_cidrs", "alert_mail_to", "trace_sent_to", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @cached_property
    def home_dir(self) -> Path:
        """The home folder, absolute."""
        return self.home.expanduser().resolve()

    @property
    def metrics_dir(self) -> Path:
        """Where the processes of this machine post what they count, and the API reads it."""
        return self.home_dir / "metrics"

    @cached_property
    def resolved_database_url(self) -> str:
        """The SQLAlchemy URL: what was set (any PostgreSQL URL is read as psycopg 3), or SQLite
        in the home folder.
        """
        url = self.database_url
        if not url:
            return f"sqlite:///{self.home_dir / 'promptmill.db'}"
        for prefix in ("postgresql://", "postgres://", "postgresql+psycopg2://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        return url

    @cached_property
    def resolved_files_url(self) -> str:
        """The fsspec URL: what was set, or a folder of the home."""
        return self.files_url or str(self.home_dir / "files")

    @cached_property
    def embedded_redis_socket(self) -> Path:
        """The embedded server's unix socket: in the home folder where its path is short enough,
        otherwise in the temporary folder under a name made from the home's.
        """
        inside = self.home_dir / "redis.sock"
        if len(str(inside)) <= _SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.sha256(str(self.home_dir).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"promptmill-{name}.sock"

    @property
    def has_embedded_redis(self) -> bool:
        """Whether `up` starts the Redis-compatible server itself."""
        return not self.redis_url

    @cached_property
    def resolved_redis_url(self) -> str:
        """The URL for redis-py."""
        return self.redis_url or f"unix://{self.embedded_redis_socket}"

    @cached_property
    def resolved_broker_url(self) -> str:
        """The URL for Celery: what was set, or the Redis above in kombu's spelling."""
        if self.broker_url:
            return self.broker_url
        if self.redis_url:
            url = self.redis_url
            return url.replace("unix://", "redis+socket://", 1) if url.startswith("unix:") else url
        return f"redis+socket://{quote(str(self.embedded_redis_socket))}"

    @property
    def admin_key_file(self) -> Path:
        """Where the admin key is kept when it was not set."""
        return self.home_dir / "admin.key"

    @property
    def address_file(self) -> Path:
        """Where `up` writes the API's address, for the CLI of the same home."""
        return self.home_dir / "api.url"
