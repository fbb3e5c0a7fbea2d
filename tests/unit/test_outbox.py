"""Frames on their way to the client: taken back without losing others, and awaited."""

import anyio
import pytest

from streams.link import SlowReader
from streams.tap import SILENT
from voice.answering import OUTBOX, UNREAD, Outbox

pytestmark = pytest.mark.anyio


async def test_what_is_taken_back_is_of_that_turn_alone() -> None:
    """Also while the turn's sender waits for the client, which leaves room for everything else."""
    outbox = Outbox(2.0, SILENT)
    told: list[str | bytes] = [f"control {number}" for number in range(OUTBOX - UNREAD + 10)]
    outbox.tell(told[:10])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.send, ["audio"] * OUTBOX, 7)
        await anyio.wait_all_tasks_blocked()
        outbox.tell(told[10:])
        with pytest.raises(SlowReader):
            outbox.tell(["one too many"])
        tasks.cancel_scope.cancel()
        outbox.take_back(7)
    outbox.tell(["done"])
    with anyio.fail_after(10):
        assert [await outbox.receive() for _ in range(len(told) + 1)] == [*told, "done"]


async def test_down_to() -> None:
    outbox = Outbox(2.0, SILENT)
    outbox.tell(["frame"] * 10)
    passed = []

    async def wait(frames: int) -> None:
        await outbox.down_to(frames)
        passed.append(frames)

    async with anyio.create_task_group() as tasks:
        for frames in (10, 5, 0):
            tasks.start_soon(wait, frames)
        await anyio.wait_all_tasks_blocked()
        assert passed == [10]
        for _ in range(5):
            await outbox.receive()
        await anyio.wait_all_tasks_blocked()
        assert passed == [10, 5]
        for _ in range(5):
            await outbox.receive()
    assert passed == [10, 5, 0]
