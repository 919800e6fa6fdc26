"""How many jobs are begun for the calls that may be in flight."""

import asyncio

import pytest

from worker.call_slots import CallSlots


async def _call(slots: CallSlots, called_s: float, waited_s: float) -> None:
    await slots.enter()
    slots.waited(waited_s)
    slots.leave(called_s)


async def _begun(slots: CallSlots) -> int:
    """How many more may begin now, each of which then ends."""
    count = 0
    try:
        while True:
            async with asyncio.timeout(0):
                await slots.begin()
            count += 1
    except TimeoutError:
        for _ in range(count):
            slots.end()
    return count


async def test_at_first_as_many_begin_as_there_are_slots() -> None:
    slots = CallSlots(16)
    assert (slots.to_begin, slots.to_claim, await _begun(slots)) == (16, 18, 16)


async def test_waits_as_long_as_the_calls_let_twice_as_many_begin_and_a_few_more() -> None:
    slots = CallSlots(16)
    for _ in range(200):
        await _call(slots, 0.2, 0.2)
    assert slots.to_begin == 36
    assert await _begun(slots) == slots.to_begin


async def test_calls_of_seconds_let_hardly_more_begin_than_there_are_slots() -> None:
    slots = CallSlots(100)
    for _ in range(200):
        await _call(slots, 10.0, 0.1)
    assert slots.to_begin == 101


async def test_endless_waits_let_three_begin_for_each_slot() -> None:
    slots = CallSlots(8)
    for _ in range(100):
        await _call(slots, 0.001, 30.0)
    assert slots.to_begin == await _begun(slots) == 24


async def test_when_the_calls_become_slower_jobs_end_without_others_beginning() -> None:
    slots = CallSlots(8)
    for _ in range(100):
        await _call(slots, 0.1, 1.0)
    for _ in range(24):
        await slots.begin()
    for _ in range(1000):
        await _call(slots, 10.0, 0.0)
    assert slots.to_begin == 8
    for ended in range(24):
        free = await _begun(slots)
        assert free == max(0, ended - 16)
        slots.end()
    assert await _begun(slots) == 8


async def test_no_more_calls_than_slots_are_in_flight_however_many_began() -> None:
    slots = CallSlots(3)
    in_flight = most = 0

    async def one() -> None:
        nonlocal in_flight, most
        await slots.begin()
        await slots.enter()
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0)
        in_flight -= 1
        slots.waited(1.0)
        slots.leave(0.1)
        slots.end()

    await asyncio.gather(*(one() for _ in range(200)))
    assert most == 3
    assert slots.to_begin == await _begun(slots) == 9


async def test_one_who_is_cancelled_while_waiting_takes_no_slot() -> None:
    slots = CallSlots(1)
    await slots.enter()
    waiting = asyncio.create_task(slots.enter())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    slots.leave(0.1)
    async with asyncio.timeout(1):
        await slots.enter()


async def test_failures_begin_no_more_jobs() -> None:
    slots = CallSlots(10)
    for _ in range(200):
        await slots.begin()
        await slots.enter()
        slots.waited(0.4)
        slots.leave(None)
        slots.end()
    assert slots.to_begin == 10


async def test_while_what_a_call_brought_is_written_the_next_job_begins() -> None:
    slots = CallSlots(10)
    claimable: list[int] = []
    slots.when_claimable(lambda: claimable.append(slots.to_claim))
    for _ in range(10):
        await slots.begin()
    waiting = [asyncio.create_task(slots.begin()) for _ in range(10)]
    await asyncio.sleep(0)
    for _ in range(10):
        slots.write()
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)
    assert claimable == [12, 13, 14, 15, 16, 17, 18, 19, 20, 21]
    for _ in range(10):
        slots.written()
        slots.end()
    assert await _begun(slots) == 0


async def test_where_nothing_can_be_written_no_more_than_three_begin_for_each_slot() -> None:
    slots = CallSlots(10)
    for _ in range(30):
        async with asyncio.timeout(1):
            await slots.begin()
        slots.write()
    assert await _begun(slots) == 0
    assert slots.to_claim == 31


async def test_a_job_cancelled_on_its_turn_leaves_its_place_to_the_next() -> None:
    slots = CallSlots(1)
    await slots.begin()
    first, second = (asyncio.create_task(slots.begin()) for _ in range(2))
    await asyncio.sleep(0)
    slots.end()
    first.cancel()
    async with asyncio.timeout(1):
        await second
    assert first.cancelled()


async def test_a_slot_that_came_to_a_cancelled_call_goes_to_the_next_one() -> None:
    slots = CallSlots(1)
    await slots.enter()
    first, second = (asyncio.create_task(slots.enter()) for _ in range(2))
    await asyncio.sleep(0)
    slots.leave(0.1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    slots.leave(0.1)
    await slots.enter()
