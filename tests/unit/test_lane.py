"""The lane: order, fairness, cancellation, and the end of its threads."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from enum import IntEnum

import anyio
import pytest
import uvloop
from anyio import wait_all_tasks_blocked

from streams.lane import Lane, LaneClosed, LaneFull
from tests.taps import Recorder

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": request.param}


class Gate:
    """A blocking call that tells when it runs and ends when it may."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.leave.wait(30)
        return threading.current_thread().name


async def running(gate: Gate) -> None:
    assert await anyio.to_thread.run_sync(gate.entered.wait, 30)


async def test_results_and_errors_reach_the_caller() -> None:
    def fail() -> None:
        raise ZeroDivisionError("no")

    async with Lane("test", 1, 4) as lane:
        assert await lane.run(lambda: 7, priority=0, session="a") == 7
        with pytest.raises(ZeroDivisionError):
            await lane.run(fail, priority=0, session="a")
        assert await lane.run(lambda: 8, priority=0, session="a") == 8
        assert not lane.load


async def order_of(jobs: list[tuple[int, str, str]]) -> list[str]:
    """The order in which (priority, session, name) run, all waiting behind one call of session "a"."""
    done: list[str] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: done.append(name)

    async def ask(lane: Lane, priority: int, session: str, name: str) -> None:
        await lane.run(note(name), priority=priority, session=session)

    gate = Gate()
    async with Lane("test", 1, 10) as lane, anyio.create_task_group() as group:
        group.start_soon(lambda: lane.run(gate, priority=0, session="a"))
        await running(gate)
        for job in jobs:
            group.start_soon(ask, lane, *job)
            await wait_all_tasks_blocked()
        assert lane.load == 1 + len(jobs)
        gate.leave.set()
    return done


async def test_the_most_urgent_goes_first() -> None:
    assert await order_of([(4, "b", "late"), (1, "a", "soon"), (0, "a", "first")]) == ["first", "soon", "late"]


async def test_equal_priority_is_shared_between_sessions() -> None:
    jobs = [(1, "a", "a1"), (1, "a", "a2"), (1, "b", "b1"), (1, "b", "b2"), (1, "c", "c1")]
    assert await order_of(jobs) == ["b1", "c1", "a1", "b2", "a2"]


async def test_a_call_is_given_what_is_newest_when_its_turn_comes() -> None:
    gate, taken, newest = Gate(), list[int](), 1
    async with Lane("test", 1, 4) as lane, anyio.create_task_group() as group:
        group.start_soon(lambda: lane.run(gate, priority=0, session="a"))
        await running(gate)
        group.start_soon(lambda: lane.run(taken.copy, priority=0, session="b", ready=lambda: taken.append(newest)))
        await wait_all_tasks_blocked()
        assert taken == []
        newest = 2
        gate.leave.set()
    assert taken == [2]


async def test_nothing_is_asked_of_a_caller_who_left() -> None:
    gate, asked = Gate(), list[int]()
    async with Lane("test", 1, 4) as lane, anyio.create_task_group() as group:
        group.start_soon(lambda: lane.run(gate, priority=0, session="a"))
        await running(gate)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await lane.run(lambda: None, priority=0, session="b", ready=lambda: asked.append(1))
        gate.leave.set()
    assert asked == []


@pytest.mark.parametrize(("threads", "at_a_time"), [(1, 1), (2, 1), (3, 2)])
async def test_background_work_leaves_a_thread_to_the_callers(threads: int, at_a_time: int) -> None:
    files, caller = [Gate() for _ in range(4)], Gate()
    async with Lane("test", threads, 4, background=5) as lane, anyio.create_task_group() as group:
        for gate in files:
            group.start_soon(lambda gate=gate: lane.run(gate, priority=5, session="file"))
            await wait_all_tasks_blocked()
        assert lane.load == 4
        for gate in files[:at_a_time]:
            await running(gate)
        assert not any(gate.entered.is_set() for gate in files[at_a_time:])
        if threads > 1:
            caller.leave.set()
            await lane.run(caller, priority=4, session="a")
        assert not any(gate.entered.is_set() for gate in files[at_a_time:])
        for gate in files:
            gate.leave.set()
    assert all(gate.entered.is_set() for gate in files), "it is only put off"


async def test_background_work_that_waits_is_bounded_though_a_thread_is_free() -> None:
    gate = Gate()
    async with Lane("test", 2, 1, background=5) as lane, anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(lambda: lane.run(gate, priority=5, session="file"))
        await running(gate)
        with pytest.raises(LaneFull):
            await lane.run(lambda: None, priority=5, session="file")
        assert await lane.run(lambda: 7, priority=4, session="a") == 7
        gate.leave.set()


async def test_more_than_may_wait_is_refused() -> None:
    gate = Gate()
    async with Lane("test", 1, 1) as lane, anyio.create_task_group() as group:
        group.start_soon(lambda: lane.run(gate, priority=0, session="a"))
        await running(gate)
        group.start_soon(lambda: lane.run(lambda: None, priority=0, session="b"))
        await wait_all_tasks_blocked()
        with pytest.raises(LaneFull, match="lane test is full: 1 calls wait"):
            await lane.run(lambda: None, priority=0, session="c")
        gate.leave.set()


async def test_cancelled_callers_leave_at_once_and_the_slot_frees_with_the_thread() -> None:
    gate, ran = Gate(), list[int]()
    async with Lane("test", 1, 4) as lane:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: lane.run(gate, priority=0, session="a"))
            await running(gate)
            group.start_soon(lambda: lane.run(lambda: ran.append(1), priority=0, session="a"))
            await wait_all_tasks_blocked()
            assert lane.load == 2
            group.cancel_scope.cancel()
        assert lane.load == 1, "the call still holds its slot, the other left the queue"
        gate.leave.set()
        assert await lane.run(lambda: 5, priority=0, session="b") == 5
        assert not lane.load
    assert ran == []


async def test_as_many_at_a_time_as_there_are_threads() -> None:
    gates = [Gate() for _ in range(3)]
    async with Lane("test", 2, 4) as lane, anyio.create_task_group() as group:
        for gate in gates:
            group.start_soon(lambda gate=gate: lane.run(gate, priority=0, session="a"))
        await running(gates[0])
        await running(gates[1])
        assert not gates[2].entered.is_set()
        for gate in gates:
            gate.leave.set()


async def test_leaving_waits_for_what_runs_and_refuses_the_rest() -> None:
    gate, refused = Gate(), list[str]()

    async def ask(lane: Lane) -> None:
        try:
            await lane.run(lambda: None, priority=0, session="b")
        except LaneClosed:
            refused.append("waiting")
            gate.leave.set()

    lane = Lane("leaving", 1, 4)
    async with anyio.create_task_group() as group:
        async with lane:
            group.start_soon(lambda: lane.run(gate, priority=0, session="a"))
            await running(gate)
            group.start_soon(ask, lane)
            await wait_all_tasks_blocked()
        assert not lane.load
        assert refused == ["waiting"]
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("leaving-")]
    with pytest.raises(LaneClosed):
        await lane.run(lambda: None, priority=0, session="a")


async def test_leaving_in_a_cancelled_scope_still_waits() -> None:
    gate = Gate()
    with anyio.CancelScope() as scope:
        async with Lane("test", 1, 4) as lane, anyio.create_task_group() as group:
            group.start_soon(lambda: lane.run(gate, priority=0, session="a"))
            await running(gate)
            gate.leave.set()
            scope.cancel()
    assert not lane.load


async def test_a_failure_after_the_caller_left_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()

    def fail() -> None:
        gate()
        raise ZeroDivisionError

    async with Lane("test", 1, 4) as lane:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: lane.run(fail, priority=0, session="a"))
            await running(gate)
            group.cancel_scope.cancel()
        gate.leave.set()
    assert [record.message for record in caplog.records] == ["a call failed after its caller had left"]


@pytest.mark.skipif(sys.platform != "linux", reason="thread priorities are a Linux matter")
async def test_threads_run_at_lower_priority_than_the_loop() -> None:
    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async with Lane("test", 1, 1) as lane:
        assert await lane.run(nice, priority=0, session="a") == min(nice() + 5, 19)


class Urgency(IntEnum):
    FINAL = 1


async def test_the_tap_sees_waits_and_slots() -> None:
    tap = Recorder()
    async with Lane("asr", 1, 1, tap) as lane:
        await lane.run(lambda: None, priority=Urgency.FINAL, session="a")
    (wait, _, labels), busy, free = tap.calls
    assert (wait, labels) == ("lane_wait_seconds", {"lane": "asr", "priority": "final"})
    assert [busy, free] == [("lane_busy", 1, {"lane": "asr"}), ("lane_busy", 0, {"lane": "asr"})]
