"""Who asks, and in which project: bearer keys, their scopes, and the admin key.

A key is found by its SHA-256; keys are 256 random bits, so finding it leaks nothing by its timing.
A revoked key may work for up to five seconds more in processes that have just seen it. Limits on
requests per minute are counted in Redis for all processes; when it does not answer they are not
held (budgets are, elsewhere, and fail closed).
"""

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

import redis
import structlog

from producer.options import Allowance
from shared.db.engine import Database
from shared.db.repositories import projects
from shared.db.repositories.projects import DEFAULT_PROJECT, KeyRow
from shared.errors import AccessError, NotFoundError, PromptmillError, UnavailableError, UsageError
from shared.redis_client import mapped_redis_errors

log = structlog.get_logger(__name__)

CACHE_S: Final = 5.0
_CACHED_KEYS: Final = 10_000
_MINUTE_S: Final = 60
PROJECT_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Right(StrEnum):
    """What a key's scope lets it do."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


class TooManyRequestsError(PromptmillError):
    """The key's requests per minute are used up (HTTP 429)."""

    code = "rate_limit_exceeded"

    def __init__(self, limit: int, retry_after_s: int) -> None:
        super().__init__(
            f"this key may make {limit} requests a minute; try again in {retry_after_s} s"
        )
        self.limit = limit
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Rate:
    """A key's requests of the present minute, which ends in `reset_s` seconds."""

    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """As OpenAI tells them."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": f"{self.reset_s}s",
        }


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks. `project_id` is None for the admin key, which belongs to no project.

    allowance: what it submits counts against its own limits, where it has any. rate: how many
    requests it may still make, where that is limited and known.
    """

    key_id: str
    project_id: str | None
    rights: frozenset[str]
    allowance: Allowance = field(default_factory=Allowance)
    rate: Rate | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it is the installation's own key."""
        return self.project_id is None

    def require(self, right: Right) -> None:
        """Raises AccessError (403) without this right; the right `admin` includes the others."""
        if right not in self.rights and Right.ADMIN not in self.rights:
            raise AccessError(f"this key lacks the scope '{right.value}'", known=True)

    def require_admin(self) -> None:
        """Raises AccessError (403) for all but the admin key."""
        if not self.is_admin:
            raise AccessError("only the admin key may do this", known=True)


_ADMIN: Final = Caller("admin", None, frozenset(Right))


class Access:
    """Knows callers by their keys. Thread-safe."""

    def __init__(
        self,
        database: Database,
        client: redis.Redis,
        admin_key: str,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._redis = client
        self._admin_digest = bytes.fromhex(digest_of(admin_key)) if admin_key else None
        self._clock = clock
        self._cache: dict[str, tuple[float, KeyRow]] = {}
        self._lock = threading.Lock()

    def caller(self, authorization: str | None) -> Caller:
        """Who sent this Authorization header; raises AccessError (401), TooManyRequestsError."""
        return self._behind(_shown(authorization), counted=True)

    def caller_at_once(self, authorization: str | None) -> Caller | None:
        """The same without waiting for the database or Redis; None where one must be asked."""
        digest = _shown(authorization)
        if self._is_admins(digest):
            return _ADMIN
        row = self._kept(digest)
        if row is None or row.requests_per_minute is not None:
            return None
        return self._let_in(row)

    def known(self, digest: str, *, counted: bool = False) -> Caller:
        """The caller behind the SHA-256 (hex) of a key that was shown before, as the console's
        session keeps it: what was revoked or has expired since is refused alike. counted: this is
        one of the key's requests of the minute.
        """
        return self._behind(digest, counted=counted)

    def _behind(self, digest: str, *, counted: bool) -> Caller:
        if self._is_admins(digest):
            return _ADMIN
        row = self._kept(digest) or self._row(digest)
        caller = self._let_in(row)
        if counted and row is not None and row.requests_per_minute is not None:
            rate = self._count(row.id, row.requests_per_minute, self._clock())
            caller = replace(caller, rate=rate)
        return caller

    def _is_admins(self, digest: str) -> bool:
        admins = self._admin_digest
        return admins is not None and hmac.compare_digest(bytes.fromhex(digest), admins)

    def _let_in(self, row: KeyRow | None) -> Caller:
        if row is None or row.revoked_at is not None:
            raise AccessError("this key is not known here, or it was revoked")
        if row.expires_at is not None and row.expires_at <= self._clock():
            raise AccessError("this key has expired", code="expired_api_key")
        return Caller(row.id, row.project_id, frozenset(row.scopes), _allowance_of(row))

    def project(self, caller: Caller, *named: str | None) -> str:
        """The project to act in: the key's own; for the admin key the first one named, otherwise
        `default`. Raises NotFoundError for one that does not exist or is another's.
        """
        return self.named_project(caller, *named) or DEFAULT_PROJECT

    def named_project(self, caller: Caller, *named: str | None) -> str | None:
        """The same, but None where the admin key named none: it then sees every project's things
        by their ids.
        """
        wanted = next((name for name in named if name), None)
        if caller.project_id is not None:
            if wanted not in (None, caller.project_id):
                raise _no_project()
            return caller.project_id
        if wanted is not None and wanted != DEFAULT_PROJECT:
            with self._database.reading() as connection:
                if not PROJECT_NAME.fullmatch(wanted) or not projects.get(connection, wanted):
                    raise _no_project()
        return wanted

    def forget(self, key_id: str) -> None:
        """A key was revoked here: do not let it in again."""
        with self._lock:
            self._cache = {
                digest: kept for digest, kept in self._cache.items() if kept[1].id != key_id
            }

    def _kept(self, digest: str) -> KeyRow | None:
        kept = self._cache.get(digest)
        return kept[1] if kept is not None and time.monotonic() - kept[0] < CACHE_S else None

    def _row(self, digest: str) -> KeyRow | None:
        now = time.monotonic()
        with self._database.reading() as connection:
            row = projects.find_key(connection, digest)
        with self._lock:
            if row is None:
                self._cache.pop(digest, None)
            else:
                if len(self._cache) >= _CACHED_KEYS:
                    self._cache.clear()
                self._cache[digest] = now, row
        return row

    def _count(self, key_id: str, limit: int, now: datetime) -> Rate | None:
        minute, second = divmod(int(now.timestamp()), _MINUTE_S)
        name = f"promptmill:requests:{key_id}:{minute}"
        try:
            with mapped_redis_errors(), self._redis.pipeline() as pipeline:
                pipeline.incr(name)
                pipeline.expire(name, 2 * _MINUTE_S)
                used = int(pipeline.execute()[0])
        except UnavailableError as error:
            log.warning("requests per minute are not counted", reason=error.message)
            return None
        if used > limit:
            raise TooManyRequestsError(limit, _MINUTE_S - second)
        return Rate(limit, limit - used, _MINUTE_S - second)


def _shown(authorization: str | None) -> str:
    """The digest of the key in an Authorization header; raises AccessError where there is none."""
    kind, _, key = (authorization or "").partition(" ")
    key = key.strip()
    if kind.lower() != "bearer" or not key:
        raise AccessError("send your key: Authorization: Bearer <key>", code="missing_api_key")
    return digest_of(key)


def digest_of(key: str) -> str:
    """The SHA-256 (hex) by which a key is known."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _allowance_of(row: KeyRow) -> Allowance:
    if row.spend_limit_nusd is None and row.tokens_per_day is None:
        return Allowance()
    return Allowance(row.id, row.tokens_per_day, row.spend_limit_nusd)


def ensure_default_project(database: Database, now: datetime) -> None:
    """Make the project `default` where it is missing."""
    with database.transaction() as connection:
        projects.create(connection, DEFAULT_PROJECT, now)


def checked_project_id(name: str) -> str:
    """A new project's id; raises UsageError for what cannot be one."""
    if not PROJECT_NAME.fullmatch(name):
        raise UsageError(
            "a project's name has 1 to 64 letters, digits, '_', '.' or '-'",
            code="invalid_value",
            param="name",
        )
    return name


def _no_project() -> NotFoundError:
    return NotFoundError("there is no such project", code="project_not_found", param="project")
