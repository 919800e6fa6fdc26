"""Reading foreign tables field by field: types are checked, leftovers refused, places named."""

import math
from collections.abc import Mapping
from typing import Any

from simulator.usage import MILLION


class ScenarioError(ValueError):
    """A document that cannot be read; the message names the place and the reason."""


class Fields:
    """One table of a document. Each reader gives None where the field is missing."""

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise ScenarioError(f"{where or 'the document'}: must be a table")
        self.raw: Mapping[str, Any] = raw
        self.where = where
        self._left = set(raw)

    def number(self, name: str) -> float | None:
        """A number, zero or more."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ScenarioError(f"{self._at(name)}: must be a number")
        if not math.isfinite(value) or value < 0:
            raise ScenarioError(f"{self._at(name)}: must be finite and not negative")
        return float(value)

    def whole(self, name: str, least: int = 0) -> int | None:
        """A whole number."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ScenarioError(f"{self._at(name)}: must be a whole number, {least} or more")
        return value

    def millionths(self, name: str, default: int, most: int = 1) -> int:
        """A share or factor up to `most`, in millionths."""
        value = self.number(name)
        if value is None:
            return default
        if value > most:
            raise ScenarioError(f"{self._at(name)}: must not exceed {most}")
        return round(value * MILLION)

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value = self._take(name)
        if value is not None and not isinstance(value, bool):
            raise ScenarioError(f"{self._at(name)}: must be true or false")
        return value

    def text(self, name: str, one_of: tuple[str, ...] = ()) -> str | None:
        """A text; a number is taken as its digits, so that `fault = 429` means the obvious."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise ScenarioError(f"{self._at(name)}: must be a text")
        if one_of and value not in one_of:
            raise ScenarioError(f"{self._at(name)}: {value!r} is none of {', '.join(one_of)}")
        return value

    def is_table(self, name: str) -> bool:
        """Whether the field holds a table."""
        return isinstance(self.raw.get(name), Mapping)

    def table(self, name: str) -> "Fields":
        """An inner table; an empty one where it is missing."""
        value = self._take(name)
        return Fields({} if value is None else value, self._at(name))

    def tables(self, name: str) -> list["Fields"]:
        """A list of tables."""
        value = self._take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise ScenarioError(f"{self._at(name)}: must be a list of tables")
        return [Fields(item, f"{self._at(name)}[{index}]") for index, item in enumerate(value)]

    def close(self) -> None:
        """Refuse what nobody asked for."""
        if self._left:
            raise ScenarioError(f"{self._at(min(self._left))}: there is no such field")

    def _take(self, name: str) -> Any:
        self._left.discard(name)
        return self.raw.get(name)

    def _at(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name
