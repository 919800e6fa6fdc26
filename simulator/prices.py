"""The simulator's price table: what each model costs, read from a catalog's model tables.

Prices are whole atto-dollars per token (10**-18 USD), so no price in USD per million tokens with
up to twelve decimal places is ever rounded. Finer prices are refused.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

ATTO_PER_NANO: Final = 10**9
_DECIMALS: Final = 12  # 1 USD per 10**6 tokens is 10**12 atto-dollars per token


class PriceTableError(ValueError):
    """A price table that cannot be read; the message names model and key."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Atto-dollars per token of each kind. cache_write None: the vendor's usual mark-up."""

    input: int
    output: int
    cached_input: int
    cache_write: int | None


@dataclass(frozen=True, slots=True)
class Price:
    """A model's rates; a call whose input exceeds a threshold of `above` is wholly at its rates."""

    base: Rates
    above: tuple[tuple[int, Rates], ...] = ()

    def rates_for(self, total_input: int) -> Rates:
        """The rates of a call with so many input tokens."""
        rates = self.base
        for threshold, dearer in self.above:
            if total_input > threshold:
                rates = dearer
        return rates


DEFAULT_PRICE: Final = Price(Rates(10**12, 2 * 10**12, 10**12, None))
"""Of a model that the table does not name: input 1 USD, output 2 USD per million tokens."""


class PriceTable:
    """Prices by the name sent on the wire, and by provider where the path begins with one.

    `/groq/openai/v1/...` asks for the price of the entry with `provider = "groq"` first. Without
    such a hint the first entry with that upstream name counts. A `name/` before the model's name
    in a request is dropped when the whole name is unknown.
    """

    def __init__(self, models: Mapping[str, Any] | None = None) -> None:
        self._prices: dict[str, Price] = {}
        self._hosted: dict[tuple[str, str], Price] = {}
        self.names: list[str] = []
        for key, entry in (models or {}).items():
            self._add(key, entry)

    def _add(self, key: str, entry: object) -> None:
        if not isinstance(entry, Mapping):
            raise PriceTableError(f"models.{key}: must be a table")
        if "input_usd_per_mtok" not in entry and "output_usd_per_mtok" not in entry:
            return  # a catalog may leave prices out; such a model is billed by the default
        price = _price(key, entry)
        upstream = str(entry.get("upstream", key))
        self.names.append(upstream)
        self._prices.setdefault(upstream, price)
        self._prices.setdefault(key, price)
        if "provider" in entry:
            self._hosted.setdefault((str(entry["provider"]), upstream), price)

    def price_of(self, model: str, path: str = "") -> Price:
        """The price of a model asked for at a path; never none."""
        if self._hosted:
            hosted = self._hosted.get((path.lstrip("/").partition("/")[0], model))
            if hosted is not None:
                return hosted
        price = self._prices.get(model)
        if price is None and "/" in model:
            price = self._prices.get(model.partition("/")[2])
        return price or DEFAULT_PRICE


def read_prices(path: Path) -> PriceTable:
    """The table of a catalog file (TOML). Raises PriceTableError, OSError, TOMLDecodeError."""
    return _table(tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal))


def parse_prices(body: bytes) -> PriceTable:
    """The table of a JSON document of the same shape. Raises PriceTableError or JSONDecodeError."""
    return _table(json.loads(body, parse_float=Decimal))


def _table(document: object) -> PriceTable:
    models = document.get("models", {}) if isinstance(document, Mapping) else None
    if not isinstance(models, Mapping):
        raise PriceTableError('must hold a table "models"')
    return PriceTable(models)


def _price(key: str, entry: Mapping[str, Any]) -> Price:
    steps = entry.get("above", ())
    if not isinstance(steps, list | tuple):
        raise PriceTableError(f"models.{key}.above: must be a list")
    above = [_step(f"{key}.above", step) for step in steps]
    return Price(_rates(key, entry), tuple(sorted(above, key=lambda step: step[0])))


def _step(key: str, step: object) -> tuple[int, Rates]:
    if not isinstance(step, Mapping) or not isinstance(step.get("input_tokens"), int):
        raise PriceTableError(f"models.{key}: each step needs input_tokens, a whole number")
    return step["input_tokens"], _rates(key, step)


def _rates(key: str, entry: Mapping[str, Any]) -> Rates:
    given = _atto(key, entry, "input_usd_per_mtok", 10**12)
    return Rates(
        input=given,
        output=_atto(key, entry, "output_usd_per_mtok", 2 * 10**12),
        cached_input=_atto(key, entry, "cached_input_usd_per_mtok", given),
        cache_write=(
            _atto(key, entry, "cache_write_usd_per_mtok", 0)
            if entry.get("cache_write_usd_per_mtok") is not None
            else None
        ),
    )


def _atto(key: str, entry: Mapping[str, Any], name: str, default: int) -> int:
    value = entry.get(name)
    if value is None:
        return default
    try:
        if isinstance(value, bool | float):
            raise PriceTableError(f"models.{key}.{name}: {value!r} is not an exact decimal")
        scaled = Decimal(value).scaleb(_DECIMALS)
        whole = int(scaled)
    except (InvalidOperation, TypeError, ValueError, OverflowError) as error:
        raise PriceTableError(f"models.{key}.{name}: {value!r} is not a price") from error
    if whole != scaled or whole < 0:
        raise PriceTableError(f"models.{key}.{name}: {value!r} is negative or finer than 1e-12 USD")
    return whole
