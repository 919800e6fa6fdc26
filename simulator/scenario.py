"""A scenario: how slow, how limited and how faulty the simulated provider is. Values only.

The same shape in TOML and JSON:

    seed = 7
    require_key = false            # true: requests without an API key get 401
    latency_ms = 150               # or { median = 150, p95 = 400 }, log-normal
    usage = { cached_share = 0.5, cache_write_share = 0.1, reasoning_tokens = 20, overreport = 1.5 }
    [[rules]]                      # the first rule that matches, has its share and is not used up
    match = { model = "*mini*", wire = "openai", contains = "prove", key = "*", path = "*",
              hard = true }        # all optional; hard: prompts that ask for more than a fact
    share = 0.3                    # of the matching calls, decided by a hash: runs repeat
    times = 5                      # at most so often
    fault = "429"                  # see `fault_kinds.py`; "none" shields from later rules
    retry_after_s = 3.8            # of 429 and 503: `dialect` says how the wait is told
    [[limits]]                     # the first that matches, per API key
    match = { model = "gpt-*" }
    rpm = 60                       # also tpm, concurrency; burst_s = 60 sizes the bucket
    window = "bucket"              # or "fixed" (the clock's minute), "sliding" (the minute past)
    counts = "corrected"           # tokens: see `limits.py`; also "asked", "used"
    silent = false                 # true: no rate-limit headers
    dialect = "seconds"            # how a refusal tells the wait

Unknown names and wrong types are refused with the place they stand at.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final, cast

import orjson

from simulator.answers import looks_hard
from simulator.exchange import Ask
from simulator.fault_kinds import FAULTS, RETRY_DIALECTS
from simulator.fields import Fields, ScenarioError
from simulator.gauges import WINDOWS, Window
from simulator.usage import MILLION, UsageOptions

WIRES: Final = ("openai", "anthropic", "gemini", "cohere")
COUNTS: Final = ("corrected", "asked", "used")

_NORMAL: Final = NormalDist()
_SIGMAS_TO_P95: Final = _NORMAL.inv_cdf(0.95)
_MOST_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds: fixed, or log-normal with this median and 95th percentile."""

    median_ms: float = 0.0
    sigma: float = 0.0

    def seconds(self, draw: float) -> float:
        """The latency at a point 0..1 of the distribution."""
        if not self.sigma:
            return self.median_ms / 1000
        inner = min(max(draw, 1e-6), 1 - 1e-6)
        spread = math.exp(self.sigma * _NORMAL.inv_cdf(inner))
        return min(self.median_ms * spread / 1000, _MOST_SECONDS)


@dataclass(frozen=True, slots=True)
class Match:
    """Which calls a rule or a limit is about: all conditions must hold."""

    globs: tuple[tuple[str, re.Pattern[str]], ...] = ()
    wire: str | None = None
    contains: str | None = None
    hard: bool | None = None

    def accepts(self, ask: Ask) -> bool:
        """Whether the call is meant."""
        if self.wire is not None and ask.wire != self.wire:
            return False
        if any(not pattern.match(getattr(ask, name)) for name, pattern in self.globs):
            return False
        if self.contains is not None and self.contains not in ask.prompt:
            return False
        return self.hard is None or looks_hard(ask.prompt) == self.hard


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault and the calls it befalls. share is in millionths."""

    match: Match
    fault: str
    share: int = MILLION
    times: int | None = None
    retry_after_s: float | None = None
    dialect: str | None = None
    billed: bool = False
    latency: Latency = Latency()


@dataclass(frozen=True, slots=True)
class Limit:
    """What one API key may do with the calls meant. None: no such limit."""

    match: Match
    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None
    burst_s: float = 60.0
    window: Window = "bucket"
    counts: str = "corrected"
    is_silent: bool = False
    dialect: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything a scenario file says. `source` is what it was read from, for showing."""

    seed: int = 0
    require_key: bool = False
    latency: Latency = Latency()
    usage: UsageOptions = field(default_factory=UsageOptions)
    rules: tuple[Rule, ...] = ()
    limits: tuple[Limit, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)


def read_scenario(path: Path) -> Scenario:
    """The scenario of a file: JSON if it is named so, TOML otherwise. Raises ScenarioError."""
    content = path.read_bytes()
    if path.suffix == ".json":
        return parse_scenario(content)
    try:
        return scenario_of(tomllib.loads(content.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"not valid TOML: {error}") from error


def parse_scenario(body: bytes) -> Scenario:
    """The scenario of a JSON document. Raises ScenarioError."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ScenarioError(f"not valid JSON: {error}") from error
    return scenario_of(raw)


def scenario_of(raw: object) -> Scenario:
    """The scenario of a parsed document. Raises ScenarioError."""
    fields = Fields(raw, "")
    scenario = Scenario(
        seed=fields.whole("seed", least=-(2**63)) or 0,
        require_key=fields.flag("require_key") or False,
        latency=_latency(fields, "latency_ms"),
        usage=_usage(fields.table("usage")),
        rules=tuple(_rule(rule) for rule in fields.tables("rules")),
        limits=tuple(_limit(limit) for limit in fields.tables("limits")),
        source=fields.raw,
    )
    fields.close()
    return scenario


def _latency(fields: Fields, name: str) -> Latency:
    if not fields.is_table(name):
        return Latency(fields.number(name) or 0.0)
    inner = fields.table(name)
    median, p95 = inner.number("median"), inner.number("p95")
    inner.close()
    if median is None or p95 is None or not 0 < median <= p95:
        raise ScenarioError(f"{inner.where}: needs median and p95, and 0 < median <= p95")
    return Latency(median, math.log(p95 / median) / _SIGMAS_TO_P95)


def _usage(fields: Fields) -> UsageOptions:
    options = UsageOptions(
        cached_share=fields.millionths("cached_share", 0),
        cache_write_share=fields.millionths("cache_write_share", 0),
        reasoning_tokens=fields.whole("reasoning_tokens") or 0,
        overreport=fields.millionths("overreport", MILLION, most=1000),
    )
    fields.close()
    if options.cached_share + options.cache_write_share > MILLION:
        raise ScenarioError("usage: cached_share and cache_write_share together exceed 1")
    return options


def _match(fields: Fields) -> Match:
    named = ((name, fields.text(name)) for name in ("model", "key", "path"))
    match = Match(
        globs=tuple((name, re.compile(translate(glob))) for name, glob in named if glob),
        wire=fields.text("wire", one_of=WIRES),
        contains=fields.text("contains"),
        hard=fields.flag("hard"),
    )
    fields.close()
    return match


def _rule(fields: Fields) -> Rule:
    fault = fields.text("fault", one_of=FAULTS)
    if fault is None:
        raise ScenarioError(f"{fields.where}.fault: is missing")
    rule = Rule(
        match=_match(fields.table("match")),
        fault=fault,
        share=fields.millionths("share", MILLION),
        times=fields.whole("times"),
        retry_after_s=fields.number("retry_after_s"),
        dialect=fields.text("dialect", one_of=RETRY_DIALECTS),
        billed=fields.flag("billed") or False,
        latency=_latency(fields, "latency_ms"),
    )
    fields.close()
    return rule


def _limit(fields: Fields) -> Limit:
    limit = Limit(
        match=_match(fields.table("match")),
        rpm=fields.number("rpm"),
        tpm=fields.number("tpm"),
        concurrency=fields.whole("concurrency"),
        burst_s=fields.number("burst_s") or 60.0,
        window=cast("Window", fields.text("window", one_of=WINDOWS) or "bucket"),
        counts=fields.text("counts", one_of=COUNTS) or "corrected",
        is_silent=fields.flag("silent") or False,
        dialect=fields.text("dialect", one_of=RETRY_DIALECTS),
    )
    fields.close()
    if limit.rpm == 0 or limit.tpm == 0 or limit.concurrency == 0:
        raise ScenarioError(f"{fields.where}: a limit of 0 admits nothing; use a rule instead")
    return limit
