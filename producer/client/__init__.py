"""The Python client: `Promptmill` and `AsyncPromptmill`, what they return and what they raise."""

from producer.client.answers import ApiError, Batch, Counts, UnreachableError
from producer.client.asking import Answer, AskOptions
from producer.client.asynchronous import AsyncPromptmill
from producer.client.calls import SubmitOptions
from producer.client.listing import Listing
from producer.client.sync import Promptmill
from producer.client.tables import TableError, table_lines

__all__ = [
    "Answer",
    "ApiError",
    "AskOptions",
    "AsyncPromptmill",
    "Batch",
    "Counts",
    "Listing",
    "Promptmill",
    "SubmitOptions",
    "TableError",
    "UnreachableError",
    "table_lines",
]
