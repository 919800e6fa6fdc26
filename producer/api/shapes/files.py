"""Files and the form they are uploaded by."""

from typing import Any, Final, Literal

from pydantic import Field

from producer.api.shapes.basics import Moment, Shape
from producer.files import LONGEST_S, PURPOSES, SHORTEST_S


class FileShape(Shape):
    """OpenAI's file object."""

    id: str = Field(examples=["file-01a1fc792bb475bc9654f76f"])
    object: Literal["file"]
    bytes: int
    created_at: Moment
    filename: str = Field(examples=["in.jsonl"])
    purpose: str = Field(examples=["batch"])
    status: Literal["uploaded", "processed", "error"]
    expires_at: Moment | None
    status_details: str | None


class DeletedShape(Shape):
    """It is gone."""

    id: str
    object: str = Field(examples=["file"])
    deleted: Literal[True]


UPLOAD_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["purpose", "file"],
    "additionalProperties": False,
    "properties": {
        "purpose": {"type": "string", "enum": list(PURPOSES)},
        "file": {
            "type": "string",
            "format": "binary",
            "description": "The content; for a batch one JSON object a line.",
        },
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {
            "type": "integer",
            "minimum": SHORTEST_S,
            "maximum": LONGEST_S,
        },
        "project": {"type": "string", "description": "For the admin key."},
    },
    "dependentRequired": {
        "expires_after[anchor]": ["expires_after[seconds]"],
        "expires_after[seconds]": ["expires_after[anchor]"],
    },
    "example": {"purpose": "batch", "file": '{"custom_id": "1", "method": "POST", ...}'},
}
"""OpenAI's form of an upload."""
