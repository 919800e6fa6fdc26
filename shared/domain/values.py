"""Values that each job makes by the dozen: frozen to the type checker, cheap to make at run time.

A frozen dataclass sets each field by a call: 0.7 µs for seven fields, 0.2 when it is not frozen.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

__all__ = ["made_often"]

if TYPE_CHECKING:
    from dataclasses import dataclass as made_often
else:

    def made_often(*, frozen: bool, slots: bool) -> Any:
        """As `dataclass(frozen=True, slots=True)`, whose freezing only the type checker holds."""
        return dataclass(slots=slots, unsafe_hash=frozen)
