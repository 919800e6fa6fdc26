"""A command's connection to the API, opened only when a command needs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # httpx takes longer to import than `--help` may
    from producer.client import Promptmill


@contextmanager
def connected(project: str | None = None) -> "Iterator[Promptmill]":
    """The client, acting in a project where one is named."""
    from producer.client import Promptmill

    with Promptmill(project=project) as mill:
        yield mill
