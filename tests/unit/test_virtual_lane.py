"""The lane on virtual time: calls cost their processor time, and keep the lane's rules."""

import time
from collections.abc import Callable

import anyio
import pytest

from streams.lane import LaneClosed, LaneFull
from streams.virtual import VirtualLane, VirtualLoop

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualLoop}


def busy(seconds: float = 0.005) -> float:
    """Computes for so long; returns the processor time it took."""
    began = time.process_time()
    while time.process_time() < began + seconds:
        pass
    return time.process_time() - began


async def test_a_call_takes_its_processor_time() -> None:
    async with VirtualLane("test", 1, 4) as lane:
        began = anyio.current_time()
        took = await lane.run(busy, priority=0, session="a")
        passed = anyio.current_time() - began
    assert passed >= took
    assert passed == pytest.approx(lane.spent["a"]["0"])


async def test_sleep_of_the_machine_costs_nothing() -> None:
    async with VirtualLane("test", 1, 4) as lane:
        await lane.run(lambda: time.sleep(0.05), priority=0, session="a")
        assert anyio.current_time() < 0.05


async def order_of(threads: int, jobs: list[tuple[int, str, str]]) -> list[tuple[str, float]]:
    """In which order (priority, session, name) end, and when, all asked for at once."""
    ended: list[tuple[str, float]] = []

    async def ask(lane: VirtualLane, priority: int, session: str, name: str) -> None:
        await lane.run(busy, priority=priority, session=session)
        ended.append((name, anyio.current_time()))

    async with VirtualLane("test", threads, 10) as lane, anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(ask, lane, *job)
    return ended


async def test_order_is_the_lanes() -> None:
    ended = await order_of(1, [(1, "a", "a1"), (1, "a", "a2"), (1, "b", "b1"), (0, "a", "urgent")])
    assert [name for name, _ in ended] == ["a1", "urgent", "b1", "a2"]
    assert [at for _, at in ended] == sorted({at for _, at in ended}), "one after the other"


async def test_threads_run_side_by_side() -> None:
    one = await order_of(1, [(1, "a", "a"), (1, "b", "b"), (1, "c", "c")])
    began = anyio.current_time()
    three = await order_of(3, [(1, "a", "a"), (1, "b", "b"), (1, "c", "c")])
    assert three[-1][1] - began < one[-1][1]


async def test_errors_reach_the_caller_after_their_time() -> None:
    def fail() -> None:
        busy()
        raise ZeroDivisionError("no")

    async with VirtualLane("test", 1, 4) as lane:
        before = anyio.current_time()
        with pytest.raises(ZeroDivisionError):
            await lane.run(fail, priority=0, session="a")
        assert anyio.current_time() > before
        assert lane.load == 0


async def test_it_fills_and_closes_like_a_lane() -> None:
    refused: list[type[Exception]] = []

    async def ask(lane: VirtualLane, call: Callable[[], object]) -> None:
        try:
            await lane.run(call, priority=0, session="a")
        except LaneFull as full:
            refused.append(type(full))

    async with VirtualLane("test", 1, 1) as lane, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask, lane, busy)
    assert refused == [LaneFull]
    with pytest.raises(LaneClosed):
        await lane.run(busy, priority=0, session="a")


async def test_a_cancelled_caller_leaves_its_slot_taken() -> None:
    async with VirtualLane("test", 1, 4) as lane:
        began = anyio.current_time()
        with anyio.move_on_after(0.001):
            await lane.run(lambda: busy(0.02), priority=0, session="a")
        assert anyio.current_time() - began == pytest.approx(0.001)
        await lane.run(lambda: None, priority=0, session="b")
        assert anyio.current_time() - began >= 0.02
