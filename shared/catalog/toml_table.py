"""A table of the catalog's file being read: typed values, or a refusal naming what to mend.

Every refusal is a `ConfigurationError` that names file, table and key, says what is wrong, and for
a misspelt name gives the nearest one that is known.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from shared.errors import ConfigurationError

Name = TypeVar("Name", bound=StrEnum)

_FINEST = -12  # decimal places: finer figures are typing errors, and cost memory as fractions


def nearest(name: str, known: Collection[str]) -> str:
    """A hint to the known name that is most like this one, or the list of all."""
    matches = get_close_matches(name.lower(), sorted(known), n=1)
    if matches:
        return f"did you mean {matches[0]!r}?"
    return "known: " + ", ".join(sorted(known)) if known else "there is none"


class Table:
    """One table: `known` are the keys it may have, anything else is refused at once."""

    def __init__(self, file: str, name: str, values: object, known: Collection[str]) -> None:
        self._file = file
        self.name = name
        if not isinstance(values, Mapping):
            self.refuse("", "must be a table")
        self._values: Mapping[str, Any] = values
        for key in values:
            if key not in known:
                self.refuse(key, f"is no key of this table; {nearest(key, known)}")

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raise the error about this key (or, with "", about the whole table)."""
        place = f"[{self.name}] {key}".rstrip() if self.name else key or "the file"
        raise ConfigurationError(f"{self._file}: {place} {problem}", param=key or self.name)

    def inner(self, name: str, values: object, known: Collection[str]) -> "Table":
        """A table within this one."""
        return Table(self._file, f"{self.name}: {name}", values, known)

    def raw(self, key: str, default: object) -> Any:
        """The value as TOML gave it."""
        return self._values.get(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        """A string with something in it; required where there is no default."""
        value = self._required(key, default)
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, "must be a string that is not empty")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of such strings, empty where the key is missing."""
        values = self._values.get(key, [])
        if not isinstance(values, list):
            self.refuse(key, "must be a list of strings")
        for value in values:
            if not isinstance(value, str) or not value.strip():
                self.refuse(key, "must be a list of strings that are not empty")
        return tuple(values)

    def choice(self, key: str, kind: type[Name], default: Name | None = None) -> Name:
        """One of the words of an enumeration."""
        value = self._required(key, default)
        return value if isinstance(value, kind) else self._word(key, value, kind)

    def choices(self, key: str, kind: type[Name], default: tuple[Name, ...]) -> tuple[Name, ...]:
        """Some of its words, each once."""
        if key not in self._values:
            return default
        words = tuple(self._word(key, value, kind) for value in self.texts(key))
        if len(set(words)) != len(words):
            self.refuse(key, "names something twice")
        return words

    def whole(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number of at least `least` and below 10^12."""
        value = self._required(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            self.refuse(key, "must be a whole number")
        if not least <= value < 10**12:
            self.refuse(key, f"must be at least {least} and below 10^12")
        return value

    def number(self, key: str, default: str | None = None, *, most: int = 1_000_000) -> Decimal:
        """An exact number from 0 to `most`, with at most twelve decimal places."""
        value = self._required(key, None if default is None else Decimal(default))
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            self.refuse(key, "must be a number")
        amount = Decimal(value)
        if not amount.is_finite() or not 0 <= amount <= most:
            self.refuse(key, f"must lie between 0 and {most}")
        exponent = amount.as_tuple().exponent
        if isinstance(exponent, int) and exponent < _FINEST:
            self.refuse(key, "has more than twelve decimal places")
        return amount

    def _required(self, key: str, default: Any) -> Any:
        value = self._values.get(key, default)
        if value is None:
            self.refuse(key, "is missing")
        return value

    def _word(self, key: str, value: object, kind: type[Name]) -> Name:
        words = [word.value for word in kind]
        if value not in words:
            self.refuse(key, f"cannot be {value!r}; {nearest(str(value), words)}")
        return kind(value)
