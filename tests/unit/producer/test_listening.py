"""What waits for a client that reads slowly is bounded; what is dropped shows as a gap."""

import asyncio
from typing import cast

from producer.api.listening import Attention, Ear
from shared.live_answers import Spoken


class Hearing:
    """An ear that hears."""

    is_deaf = False


async def test_a_slow_reader_holds_a_bounded_number_of_frames() -> None:
    attention = Attention(cast("Ear", Hearing()), "a channel")
    for number in range(100_000):
        attention.hear(Spoken(1, "run", number, "model", ()))
    kept = []
    while True:
        try:
            async with asyncio.timeout(0.01):
                kept.append(await attention.next())
        except TimeoutError:
            break
    assert 0 < len(kept) <= 10_000
    assert [frame.number for frame in kept if isinstance(frame, Spoken)] == list(range(len(kept)))
    attention.hear(Spoken(1, "run", 100_000, "model", ()))
    assert await attention.next() == Spoken(1, "run", 100_000, "model", ())
