"""What comes page by page: read item by item with `async for`, or a page at a time."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Listing(Generic[ItemT]):
    """Items that are asked for as they are read; each reading begins at the first one."""

    def __init__(self, pages: Callable[[], AsyncGenerator[Sequence[ItemT]]]) -> None:
        self.pages = pages

    async def __aiter__(self) -> AsyncIterator[ItemT]:
        """One item after the other."""
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                for item in page:
                    yield item
