"""What a submission may ask for beside its lines, read and checked once. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import orjson

from shared.domain.batch import Priority
from shared.domain.money import nusd_from_usd
from shared.errors import UsageError

DEFAULT_WINDOW: Final = "24h"
QUALITY: Final = "quality"
_LEAST_LOSS: Final = 0.001
_MOST_LOSS: Final = 0.5
MAX_KEY: Final = 255
MAX_NAME: Final = 255
MAX_URL: Final = 2048
MAX_LABEL: Final = 200  # of keys and webhook endpoints
_MAX_PAIRS: Final = 16
_MAX_PAIR_KEY: Final = 64
_MAX_PAIR_VALUE: Final = 512
_WINDOW: Final = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SHORTEST_S: Final = 60
_LONGEST_S: Final = 30 * 86400


@dataclass(frozen=True, slots=True)
class Allowance:
    """The API key whose limits a submission counts against, where it has any."""

    key_id: str | None = None
    tokens_per_day: int | None = None
    spend_limit_nusd: int | None = None


class Start(StrEnum):
    """When the jobs of a submission may begin."""

    EARLY = "early"  # while its last lines are still being sent
    COMPLETE = "complete"  # once its last line is in


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is run, in its project. start: None: early where that is possible."""

    project_id: str
    priority: Priority = Priority.BATCH
    strict: bool = False
    completion_window: str = DEFAULT_WINDOW
    max_cost_nusd: int | None = None
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    idempotency_key: str | None = None
    deduplicate: bool | None = None
    optimise: str | None = None
    pilot: bool = False
    max_quality_loss: float | None = None
    allowance: Allowance = field(default_factory=Allowance)
    start: Start | None = None

    def fingerprint(self) -> bytes:
        """What makes a submission the same one, apart from its lines, its key, its allowance and
        the moment at which it starts.
        """
        told: dict[str, Any] = {
            "priority": self.priority.value,
            "strict": self.strict,
            "completion_window": self.completion_window,
            "max_cost_nusd": self.max_cost_nusd,
            "name": self.name,
            "metadata": dict(self.metadata),
            "webhook_url": self.webhook_url,
            "deduplicate": self.deduplicate,
        }
        if self.optimise is not None:
            told["optimise"] = self.optimise
        if self.pilot:
            told["pilot"] = self.max_quality_loss or 0
        return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


def window_of(text: str) -> timedelta:
    """The completion window "24h" or "<n>s|m|h|d"; raises UsageError outside of 60 s to 30 d."""
    match = _WINDOW.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise UsageError(
            "completion_window is a number with s, m, h or d, such as 24h, from 60s to 30d",
            code="invalid_value",
            param="completion_window",
        )
    return timedelta(seconds=seconds)


def usd(value: object, param: str) -> int:
    """Nano-dollars of an amount given in USD as a number or a decimal string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"{param} must be an amount in USD", code="invalid_type", param=param)
    try:
        return nusd_from_usd(value)
    except ValueError:
        raise UsageError(
            f"{param} must be an amount in USD from 0 to 9,000,000, such as 2.50",
            code="invalid_value",
            param=param,
        ) from None


def text(value: str | None, param: str, most: int) -> str | None:
    """A text that the database can keep; "" is none."""
    if not value:
        return None
    if len(value) > most:
        raise UsageError(
            f"{param} has more than {most} characters", code="invalid_value", param=param
        )
    if "\x00" in value:
        raise UsageError(f"{param} holds a NUL character", code="nul_character", param=param)
    return value


def optimise(value: str | None, max_cost_nusd: int | None) -> str | None:
    """What a batch's budget is allotted for; "" is nothing. It needs a budget."""
    if not value:
        return None
    if value != QUALITY:
        raise UsageError("optimise is quality, or left out", code="invalid_value", param="optimise")
    if max_cost_nusd is None:
        raise UsageError(
            "optimise: quality spreads a budget: give max_cost_usd as well",
            code="missing_required_parameter",
            param="max_cost_usd",
        )
    return value


def pilot(wanted: bool | None, max_quality_loss: float | None, optimised: str | None) -> bool:
    """Whether a batch has a pilot: where one, or a limit on the loss, is asked for."""
    if max_quality_loss is not None and not _LEAST_LOSS <= max_quality_loss <= _MOST_LOSS:
        raise UsageError(
            f"max_quality_loss is a share from {_LEAST_LOSS} to {_MOST_LOSS}, such as 0.02",
            code="invalid_value",
            param="max_quality_loss",
        )
    if max_quality_loss is not None and wanted is False:
        raise UsageError(
            "max_quality_loss is shown by a pilot", code="invalid_value", param="pilot"
        )
    chosen = bool(wanted) or max_quality_loss is not None
    if chosen and optimised is not None:
        raise UsageError(
            "a pilot and optimise: quality both choose the models: ask for one of them",
            code="invalid_value",
            param="pilot",
        )
    return chosen


def priority(value: str | None) -> Priority:
    """One of the two queues."""
    if not value:
        return Priority.BATCH
    try:
        return Priority(value)
    except ValueError:
        words = " or ".join(word.value for word in Priority)
        raise UsageError(f"priority is {words}", code="invalid_value", param="priority") from None


def start(value: str | None) -> Start | None:
    """When it begins; "" is none."""
    if not value:
        return None
    try:
        return Start(value)
    except ValueError:
        words = " or ".join(word.value for word in Start)
        raise UsageError(f"start is {words}", code="invalid_value", param="start") from None


def metadata(value: object) -> dict[str, str]:
    """At most 16 pairs of texts, keys up to 64 and values up to 512 characters, as at OpenAI."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise UsageError(
            "metadata is a JSON object of strings", code="invalid_type", param="metadata"
        )
    if len(value) > _MAX_PAIRS:
        raise UsageError(
            f"metadata has more than {_MAX_PAIRS} pairs", code="invalid_value", param="metadata"
        )
    for key, inner in value.items():
        text(key, "metadata", _MAX_PAIR_KEY)
        text(inner, "metadata", _MAX_PAIR_VALUE)
    return value
