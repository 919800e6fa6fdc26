"""What an API key may still use: its spend limit, and its tokens of the day.

The spend limit is one more purse of the budget ledger, reserved from before every call (see
`scopes_for`); here it is only looked at, so that who has nothing left is told at once. Tokens are
counted in Redis when something is submitted: the worst case of one answer a line (the bytes of its
request and `max_tokens`), atomically, so the limit holds for any number of processes; what ended is
corrected to what it used. Lost counts are made anew from the database.

Weakness: climbs and retries count when their batch has ended; what was submitted in the very moment
in which Redis lost its data may be missing in the new count. Money has neither.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import redis

from producer.intake import Line, ValidLine
from producer.options import Allowance
from shared.budget.ledger import Ledger
from shared.budget.model import Scope, ScopeKind
from shared.db.engine import Database
from shared.db.repositories import budgets, key_use
from shared.domain.inference import Request
from shared.domain.money import usd_from_nusd
from shared.errors import BudgetRefusedError, PromptmillError, UnavailableError
from shared.redis_client import mapped_redis_errors

_LUA: Final = Path(__file__).parent / "lua"
_KEPT_S: Final = 3 * 86_400
_CORRECTED_EVERY_S: Final = 1.0
_ABANDONED_S: Final = 600
"""A count whose batch is not in the database by then belongs to a submission that failed."""
_CORRECTED_AT_ONCE: Final = 5_000
_TOTAL: Final = b"total"


class TooManyTokensError(PromptmillError):
    """The key's tokens of this day are used up (HTTP 429); UTC's next day begins a new count."""

    code = "token_limit_exceeded"

    def __init__(self, needed: int, used: int, limit: int, retry_after_s: int) -> None:
        super().__init__(
            f"this key may use {limit} tokens a day and has {max(0, limit - used)} left; this may "
            f"need {needed}"
        )
        self.limit = limit
        self.remaining = max(0, limit - used)
        self.retry_after_s = retry_after_s


def worst_case_tokens(request: Request, default_max_tokens: int) -> int:
    """The most tokens one answer to a request may take: a token has at least one byte."""
    return len(request.to_json()) + request.choices * (request.max_tokens or default_max_tokens)


class KeyLimits:
    """Looks at and counts against keys' limits. Thread-safe."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        client: redis.Redis,
        *,
        default_max_tokens: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._redis = client
        self._clock = clock
        self._corrected: dict[str, float] = {}
        self.default_max_tokens = default_max_tokens
        self._take, self._correct, self._open = (
            client.register_script((_LUA / f"{verb}_tokens.lua").read_text(encoding="utf-8"))
            for verb in ("take", "correct", "open")
        )

    def check_spend(self, allowance: Allowance) -> None:
        """Raises BudgetRefusedError where the key's spend limit leaves nothing. Where the ledger
        does not answer nothing is refused here: it refuses every call itself.
        """
        key_id = allowance.key_id
        if allowance.spend_limit_nusd is None or key_id is None:
            return
        try:
            (balance,) = self._ledger.balance([Scope(ScopeKind.KEY, key_id)])
        except UnavailableError:
            return
        if balance is not None:
            limit, spent = balance.limit_nusd, balance.spent_nusd
        else:
            with self._database.reading() as connection:
                purse = budgets.key_purse(connection, key_id)
            limit, spent = purse.limit_nusd, purse.spent_nusd
        if limit is not None and spent >= limit:
            raise BudgetRefusedError(
                f"this key's spend limit of {usd_from_nusd(limit)} USD is used up: raise it, or "
                "use another key",
                code="key_limit_exceeded",
            )

    def worst_case_of(self, lines: Iterable[Line]) -> int:
        """The most tokens that the good lines may take."""
        return sum(
            worst_case_tokens(line.request, self.default_max_tokens)
            for line in lines
            if isinstance(line, ValidLine)
        )

    def take_tokens(self, allowance: Allowance, batch_id: str, tokens: int) -> None:
        """Count a batch's worst case; raises TooManyTokensError, UnavailableError. Repeating it
        counts nothing more.
        """
        limit, key_id = allowance.tokens_per_day, allowance.key_id
        if limit is None or key_id is None:
            return
        now = self._clock()
        name = self._name(key_id, now)
        if time.monotonic() - self._corrected.get(name, 0.0) > _CORRECTED_EVERY_S:
            self._correct_ended(name, now)
        for is_last in (False, True):
            used = self._taken(name, key_id, batch_id, tokens, limit, now)
            if used is None:
                return
            if is_last or not self._correct_ended(name, now):
                raise TooManyTokensError(tokens, used, limit, _left_of_day_s(now))

    def release_tokens(self, allowance: Allowance, batch_id: str) -> None:
        """Take a count back: nothing was submitted after all."""
        if allowance.tokens_per_day is not None and allowance.key_id is not None:
            name = self._name(allowance.key_id, self._clock())
            with mapped_redis_errors():
                self._correct(keys=[name], args=[batch_id, 0])

    def _taken(
        self, name: str, key_id: str, batch_id: str, tokens: int, limit: int, now: datetime
    ) -> int | None:
        """None, or what is counted so far where the tokens do not fit."""
        args: list[str | int] = [batch_id, tokens, limit, int(now.timestamp()), _KEPT_S]
        with mapped_redis_errors():
            while True:
                word, *total = cast("list[Any]", self._take(keys=[name], args=args))
                if word == b"taken":
                    return None
                if word == b"refused":
                    return int(total[0])
                self._open_day(name, key_id, now)

    def _open_day(self, name: str, key_id: str, now: datetime) -> None:
        begin = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with self._database.snapshot() as connection:
            uses = key_use.since(connection, key_id, begin)
        args: list[str | int] = [sum(use.tokens for use in uses), _KEPT_S]
        for use in uses:
            if use.tokens and not use.is_final:  # a file that is still being read has none yet
                args += [use.batch_id, f"{use.tokens}|{int(now.timestamp())}"]
        self._open(keys=[name], args=args)

    def _correct_ended(self, name: str, now: datetime) -> bool:
        """Replace the worst cases of what has ended; whether there were any."""
        self._corrected = {name: time.monotonic()} | {
            other: at for other, at in self._corrected.items() if other != name
        }
        with mapped_redis_errors():
            counted = cast("Mapping[bytes, bytes]", self._redis.hgetall(name))
        fields = (field for field in counted if field != _TOTAL)
        ids = {field.decode(): counted[field] for field in islice(fields, _CORRECTED_AT_ONCE)}
        if not ids:
            return False
        with self._database.reading() as connection:
            found = {use.batch_id: use for use in key_use.of_batches(connection, ids)}
        args: list[str | int] = []
        for batch_id, value in ids.items():
            use = found.get(batch_id)
            if use is not None and use.is_final:
                args += [batch_id, use.tokens]
            elif use is None and now.timestamp() - int(value.split(b"|")[1]) > _ABANDONED_S:
                args += [batch_id, 0]
        if args:
            with mapped_redis_errors():
                self._correct(keys=[name], args=args)
        return bool(args)

    @staticmethod
    def _name(key_id: str, now: datetime) -> str:
        return f"promptmill:tokens:{key_id}:{now.astimezone(UTC).date().isoformat()}"


def _left_of_day_s(now: datetime) -> int:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight + timedelta(days=1) - now).total_seconds()) + 1
