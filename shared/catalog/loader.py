"""The catalog's file read and checked: what is unknown, misspelt or without a price is refused.

The only file and the only environment the catalog touches are read here; everything made of them
is values (`shared.catalog.spec`).
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from shared.catalog.keys import missing, resolve, variable_of
from shared.catalog.listed import Listed, listed
from shared.catalog.price_reading import PRICE_KEYS, read_price
from shared.catalog.simulated import simulated
from shared.catalog.spec import (
    EMBEDDINGS,
    USUAL_CAPABILITIES,
    Catalog,
    ModelSpec,
    ProviderSpec,
    RoutingSettings,
    WireName,
)
from shared.catalog.toml_table import Table, nearest
from shared.clock import utc_now
from shared.domain.decisions import Mode
from shared.domain.inference import TaskType, Tier
from shared.errors import ConfigurationError
from shared.tokens import TOKENIZERS

CAPABILITIES: Final = frozenset({*USUAL_CAPABILITIES, "logprobs", EMBEDDINGS})
DEFAULT_CONTEXT_WINDOW: Final = 128_000
DEFAULT_MAX_OUTPUT_TOKENS: Final = 8_192

_DEFAULT: Final = Path("catalog.toml")
# Beside this file in an installed package, at the top of a working copy.
_SHIPPED: Final = (
    Path(__file__).with_name("catalog.toml"),
    Path(__file__).parents[2] / "catalog.toml",
)
_RESERVED: Final = frozenset({*Mode, *Tier})
_NAME = re.compile(r"[^\s\x00-\x1f]{1,200}")
_PROVIDER_KEYS: Final = frozenset(
    {
        "wire", "base_url", "api_keys", "max_concurrency", "rpm", "tpm", "headers", "timeout_s",
        "connect_timeout_s", "drop_params", "max_tokens_field",
    }
)  # fmt: skip
_MODEL_KEYS: Final = frozenset(
    {
        "provider", "upstream", "tier", *PRICE_KEYS, "above", "batch_discount", "context_window",
        "max_output_tokens", "strengths", "quality", "latency_s", "tokenizer", "capabilities",
    }
)  # fmt: skip


def load_catalog(path: Path, env: Mapping[str, str], *, simulator_url: str = "") -> Catalog:
    """Read a catalog. With `simulator_url` every provider's address is the simulator's.

    The default name `catalog.toml`, where the working directory has no such file, means the catalog
    that is shipped. Raises ConfigurationError naming file, table, key and what to mend.
    """
    file = _existing(path)
    content = file.read_bytes()
    tables = _parse(path, content)
    top = Table(str(path), "", tables, ("providers", "models", "routing"))
    reading = _Reading(str(path), env, utc_now())
    providers = {name: reading.provider(name, v) for name, v in _named(top, "providers").items()}
    models = {name: reading.model(name, v, providers) for name, v in _named(top, "models").items()}
    catalog = Catalog(
        providers=providers,
        models=models,
        routing=_routing(Table(str(path), "routing", top.raw("routing", {}), _ROUTING_KEYS)),
        unavailable=reading.unavailable,
        warnings=tuple(reading.warnings),
        digest=hashlib.sha256(content).hexdigest(),
    )
    return simulated(catalog, simulator_url) if simulator_url else catalog


def _existing(path: Path) -> Path:
    for candidate in (path, *_SHIPPED) if path == _DEFAULT else (path,):
        if candidate.is_file():
            return candidate
    raise ConfigurationError(
        f"{path}: there is no such catalog; write one or let PROMPTMILL_CATALOG name it"
    )


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not valid TOML: {str(error)[:200]}") from None


def _named(top: Table, key: str) -> Mapping[str, object]:
    values = top.raw(key, {})
    if not isinstance(values, Mapping) or not values:
        top.refuse(key, f"must hold at least one table [{key}.NAME]")
    return values


_ROUTING_KEYS: Final = ("ladder", "default_max_tokens", "max_climbs")


def _routing(table: Table) -> RoutingSettings:
    usual = RoutingSettings()
    ladder = table.choices("ladder", Tier, usual.ladder)
    if not ladder or list(ladder) != [tier for tier in Tier if tier in ladder]:
        table.refuse("ladder", "must name tiers in rising order: cheap, mid, high")
    return RoutingSettings(
        ladder=ladder,
        default_max_tokens=table.whole("default_max_tokens", usual.default_max_tokens),
        max_climbs=table.whole("max_climbs", usual.max_climbs, least=0),
    )


class _Reading:
    """One reading of a file; collects what is no error but should be known."""

    def __init__(self, file: str, env: Mapping[str, str], now: datetime) -> None:
        self._file, self._env, self._now = file, env, now
        self.unavailable: dict[str, str] = {}
        self.warnings: list[str] = []

    def provider(self, name: str, values: object) -> ProviderSpec:
        table = Table(self._file, f"providers.{name}", values, _PROVIDER_KEYS)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
            table.refuse("", "needs a name of letters, digits, dots, dashes and underscores")
        base_url = self._base_url(name, table)
        limits = ("max_concurrency", "rpm", "tpm")
        return ProviderSpec(
            name=name,
            wire=table.choice("wire", WireName),
            base_url=base_url,
            api_keys=self._api_keys(name, table),
            **{key: table.whole(key) for key in limits if key in table},
            max_tokens_field=table.text("max_tokens_field", "max_tokens"),
            drop_params=table.texts("drop_params"),
            headers=MappingProxyType(_headers(table)),
            timeout_s=_seconds(table, "timeout_s", "600"),
            connect_timeout_s=_seconds(table, "connect_timeout_s", "5"),
        )

    def model(self, name: str, values: object, providers: Mapping[str, ProviderSpec]) -> ModelSpec:
        table = Table(self._file, f'models."{name}"', values, _MODEL_KEYS)
        if name in _RESERVED or not _NAME.fullmatch(name):
            table.refuse("", "needs another name: without spaces, and no mode or tier")
        provider_name = table.text("provider")
        if provider_name not in providers:
            table.refuse(
                "provider", f"{provider_name!r} is not defined; {nearest(provider_name, providers)}"
            )
        provider = providers[provider_name]
        upstream = table.text("upstream", name)
        discount = Fraction(table.number("batch_discount", "0.5", most=1))
        price = read_price(table, provider.wire, discount)
        capabilities = _capabilities(table, provider.wire)
        known = Listed(None, None)
        if price is None or "context_window" not in table:
            writes = EMBEDDINGS not in capabilities
            known = listed(provider, upstream, discount, self._now, writes=writes)
        price = price or known.price
        if price is None:
            table.refuse(
                "input_usd_per_mtok",
                f"is missing, and no list price of {upstream!r} at {provider_name!r} is known; "
                "give input_usd_per_mtok and output_usd_per_mtok (0 for a free model)",
            )
        return ModelSpec(
            name=name,
            provider=provider_name,
            upstream=upstream,
            tier=table.choice("tier", Tier),
            price=price,
            context_window=table.whole(
                "context_window", known.context_window or DEFAULT_CONTEXT_WINDOW
            ),
            max_output_tokens=table.whole("max_output_tokens", DEFAULT_MAX_OUTPUT_TOKENS),
            strengths=table.choices("strengths", TaskType, ()),
            quality=float(table.number("quality", "0.5", most=1)),
            latency_s=_seconds(table, "latency_s", "2"),
            tokenizer=_tokenizer(table),
            capabilities=capabilities,
        )

    def _base_url(self, name: str, table: Table) -> str:
        given = table.text("base_url")
        if reason := missing([given], self._env):
            self.unavailable[name] = f"no address: {reason}"
            return ""
        url = resolve(given, self._env).rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            table.refuse("base_url", f"({given}) must be an http or https address or env:NAME")
        return url

    def _api_keys(self, name: str, table: Table) -> tuple[str, ...]:
        keys = table.texts("api_keys")
        if "api_keys" in table and not keys:
            table.refuse("api_keys", "is empty; leave it out for a host without keys")
        for key in keys:
            if key.startswith("env:") and variable_of(key) is None:
                table.refuse("api_keys", "must name a variable after env:, as in env:SOME_API_KEY")
            if variable_of(key) is None:
                self.warnings.append(
                    f"{self._file}: [{table.name}] api_keys holds a key itself; "
                    "keys belong in the environment: write env:NAME"
                )
        if reason := missing(keys, self._env):
            self.unavailable.setdefault(name, f"no key: {reason}")
        return keys


def _headers(table: Table) -> dict[str, str]:
    headers = table.raw("headers", {})
    if not isinstance(headers, Mapping):
        table.refuse("headers", "must be a table of strings")
    for name, value in headers.items():
        if not isinstance(value, str) or re.search(r"[\r\n\0]", name + value):
            table.refuse("headers", f"must hold a string of one line for {name!r}")
    return dict(headers)


def _seconds(table: Table, key: str, default: str) -> float:
    seconds = float(table.number(key, default, most=86_400))
    if seconds <= 0:
        table.refuse(key, "must be more than 0")
    return seconds


def _tokenizer(table: Table) -> str | None:
    if "tokenizer" not in table:
        return None
    name = table.text("tokenizer")
    if name not in TOKENIZERS:
        table.refuse("tokenizer", f"{name!r} is not shipped; {nearest(name, TOKENIZERS)}")
    return name


def _capabilities(table: Table, wire: WireName) -> frozenset[str]:
    if "capabilities" not in table:
        return USUAL_CAPABILITIES
    given = table.texts("capabilities")
    for name in given:
        if name not in CAPABILITIES:
            table.refuse("capabilities", f"has {name!r}; {nearest(name, CAPABILITIES)}")
    if EMBEDDINGS in given and len(given) > 1:
        table.refuse("capabilities", f"has {EMBEDDINGS!r}: such a model has no other capability")
    if EMBEDDINGS in given and wire is not WireName.OPENAI:
        table.refuse(
            "capabilities",
            f"has {EMBEDDINGS!r}: embeddings are made over the openai wire only; Gemini and Cohere "
            "speak it too, at a base_url of its own, so give the model a provider with that",
        )
    return frozenset(given)
