"""The Python client: `Promptmill` for programs, and what it returns and raises."""

from producer.client.answers import ApiError, Batch, Counts, HeldError, UnreachableError
from producer.client.calls import SubmitOptions
from producer.client.sync import Promptmill

__all__ = [
    "ApiError",
    "Batch",
    "Counts",
    "HeldError",
    "Promptmill",
    "SubmitOptions",
    "UnreachableError",
]
