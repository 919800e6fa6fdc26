"""What travels through the queue: ids only, versioned, parsed with suspicion."""

from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import UsageError

VERSION = 1
QUEUED_AT = "promptmill_queued_at"
"""Header of a message: when it was sent, in Unix nanoseconds; beside it W3C's `traceparent`, where
its batch is traced."""
IS_FIRST = "promptmill_is_first"
"""Header of a message: nothing was sent for its jobs before, and somebody waits for them."""
MAX_LINES_TEXT = 22_000
"""Bytes of a chunk's ranges: a thousand lines, the largest chunk there may be, none adjacent."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    v: int = Field(ge=VERSION, le=VERSION)
    batch: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    batch_number: int = Field(ge=1, lt=2**63)
    lines: str = Field(min_length=1, max_length=MAX_LINES_TEXT, pattern=r"^[0-9][0-9,-]*$")


@dataclass(frozen=True, slots=True)
class ChunkMessage:
    """A chunk to run: `batch` is the public id, `batch_number` the database's own, `lines` the
    lines' ranges as `shared.chunking.ranges_text` writes them.
    """

    batch: str
    batch_number: int
    lines: str
    v: int = VERSION

    def as_kwargs(self) -> dict[str, Any]:
        """The task's arguments, what a reader of Flower wants to see first."""
        return {
            "batch": self.batch,
            "lines": self.lines,
            "batch_number": self.batch_number,
            "v": self.v,
        }

    @classmethod
    def parse(cls, kwargs: dict[str, Any]) -> Self:
        """Read a task's arguments back.

        Raises UsageError for anything this version would not have written; the message names the
        fields and repeats none of their content.
        """
        try:
            wire = _Wire.model_validate(kwargs)
        except ValidationError as error:
            fields = sorted({str(part["loc"][0]) for part in error.errors() if part["loc"]})
            raise UsageError(f"not a chunk's message: see {', '.join(fields)}") from None
        return cls(wire.batch, wire.batch_number, wire.lines, wire.v)
