"""The channel's promises to tasks that wait."""

import asyncio

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from streams.channel import Channel, ChannelClosed, ChannelFull, Overflow
from tests.taps import Recorder

pytestmark = pytest.mark.anyio


def counted(limit: float, overflow: Overflow = Overflow.WAIT) -> Channel[int]:
    return Channel("test", limit, overflow)


async def test_senders_wait_and_go_in_by_turns() -> None:
    channel = counted(1)
    await channel.send(0)
    async with anyio.create_task_group() as group:
        for item in (1, 2, 3):
            group.start_soon(channel.send, item)
            await wait_all_tasks_blocked()
        assert not channel.offer(9), "an offer must not overtake those who wait"
        assert [await channel.receive() for _ in range(4)] == [0, 1, 2, 3]


async def test_a_light_item_does_not_overtake_a_heavy_one_that_waits() -> None:
    channel = Channel[float]("test", 1.0, Overflow.WAIT, weigh=float)
    await channel.send(0.5)
    async with anyio.create_task_group() as group:
        group.start_soon(channel.send, 0.7)
        await wait_all_tasks_blocked()
        assert not channel.offer(0.1)
        group.start_soon(channel.send, 0.2)
        await wait_all_tasks_blocked()
        assert [await channel.receive() for _ in range(3)] == [0.5, 0.7, 0.2]


async def test_receivers_are_served_in_turn() -> None:
    channel, got = counted(5), list[tuple[str, int]]()

    async def take(name: str) -> None:
        got.append((name, await channel.receive()))

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(take, name)
            await wait_all_tasks_blocked()
        for item in range(3):
            await channel.send(item)
    assert got == [("a", 0), ("b", 1), ("c", 2)]


@pytest.mark.parametrize("woken", [False, True])
async def test_a_cancelled_receiver_takes_nothing(woken: bool) -> None:
    channel, got = counted(5), list[int]()

    async def take(scope: anyio.CancelScope) -> None:
        with scope:
            got.append(await channel.receive())

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(take, first)
        await wait_all_tasks_blocked()
        group.start_soon(take, second)
        await wait_all_tasks_blocked()
        if not woken:
            first.cancel()
        assert channel.offer(1)
        if woken:
            first.cancel()
        await wait_all_tasks_blocked()
        assert [*got, *channel.clear()] == [1], "whoever took it, it is there once"
        second.cancel()


async def test_a_receiver_cancelled_natively_when_called_passes_the_item_on() -> None:

    channel = counted(5)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(channel.receive())
        await wait_all_tasks_blocked()
        second = group.create_task(channel.receive())
        await wait_all_tasks_blocked()
        assert channel.offer(1)
        first.cancel()
    assert first.cancelled()
    assert second.result() == 1


async def test_a_sender_cancelled_natively_when_called_passes_its_turn_on() -> None:

    channel = counted(1)
    await channel.send(0)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(channel.send(1))
        await wait_all_tasks_blocked()
        group.create_task(channel.send(2))
        await wait_all_tasks_blocked()
        assert await channel.receive() == 0
        first.cancel()
    assert channel.clear() == [2]


async def test_a_cancelled_scope_sends_nothing() -> None:
    channel = counted(5)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await channel.send(1)
    assert len(channel) == 0


async def test_close_drains_receivers_and_fails_senders() -> None:
    channel, failed = counted(2), list[int]()

    async def give(item: int) -> None:
        try:
            await channel.send(item)
        except ChannelClosed:
            failed.append(item)

    async with anyio.create_task_group() as group:
        for item in range(4):
            group.start_soon(give, item)
            await wait_all_tasks_blocked()
        channel.close()
        channel.close()
        await wait_all_tasks_blocked()
        assert failed == [2, 3]
        assert [item async for item in channel] == [0, 1]
    with pytest.raises(ChannelClosed):
        await channel.receive()
    with pytest.raises(ChannelClosed):
        channel.offer(1)


async def test_close_ends_all_receivers_that_wait() -> None:
    channel = counted(1)

    async def drain() -> None:
        assert [item async for item in channel] == []

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(drain)
            group.start_soon(drain)
            await wait_all_tasks_blocked()
            channel.close()


async def test_drop_oldest_keeps_the_newest() -> None:
    channel = counted(2, Overflow.DROP_OLDEST)
    for item in range(5):
        await channel.send(item)
    assert channel.clear() == [3, 4]


async def test_fail_says_so_and_keeps_what_it_has() -> None:
    channel = counted(1, Overflow.FAIL)
    await channel.send(0)
    with pytest.raises(ChannelFull, match="channel test is full"):
        await channel.send(1)
    with pytest.raises(ChannelFull):
        channel.offer(1)
    assert channel.clear() == [0]


async def test_an_item_heavier_than_the_limit_goes_through_an_empty_channel() -> None:
    channel = Channel[float]("test", 1.0, Overflow.WAIT, weigh=float)
    await channel.send(0.5)
    async with anyio.create_task_group() as group:
        group.start_soon(channel.send, 7.0)
        await wait_all_tasks_blocked()
        assert channel.weight == 0.5
        assert await channel.receive() == 0.5
        assert await channel.receive() == 7.0
    assert channel.weight == 0.0


async def test_clear_makes_room_for_those_who_wait() -> None:
    channel = counted(1)
    await channel.send(0)
    async with anyio.create_task_group() as group:
        group.start_soon(channel.send, 1)
        await wait_all_tasks_blocked()
        assert channel.clear() == [0]
        await checkpoint()
    assert channel.clear() == [1]


async def test_the_tap_sees_depth_and_losses() -> None:
    tap = Recorder()
    channel = Channel[float]("mic", 1.0, Overflow.DROP_OLDEST, weigh=float, tap=tap)
    channel.offer(0.75)
    channel.offer(0.5)
    channel.clear()
    assert tap.calls == [
        ("edge_seconds", 0.75, {"edge": "mic"}),
        ("edge_dropped_seconds_total", 0.75, {"edge": "mic", "reason": "overflow"}),
        ("edge_seconds", 0.5, {"edge": "mic"}),
        ("edge_dropped_seconds_total", 0.5, {"edge": "mic", "reason": "cleared"}),
        ("edge_seconds", 0.0, {"edge": "mic"}),
    ]
