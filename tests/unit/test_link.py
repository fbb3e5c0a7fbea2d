"""The in-memory pair keeps the promises of a link."""

import anyio
import pytest

from streams.link import Link, LinkClosed, SlowReader, memory_pair

pytestmark = pytest.mark.anyio


async def test_frames_pass_both_ways_in_order() -> None:
    near, far = memory_pair(4)
    for frame in ("a", b"b", "c"):
        await near.send(frame)
    await far.send(b"d")
    assert [await far.receive() for _ in range(3)] == ["a", b"b", "c"]
    assert await near.receive() == b"d"


async def test_what_was_sent_before_the_end_arrives_and_then_the_end() -> None:
    near, far = memory_pair(4)
    await near.send("last")
    await near.close(4000, "done")
    await far.close(4999, "too late to matter")
    assert await far.receive() == "last"
    link: Link
    for link in (far, near):
        with pytest.raises(LinkClosed, match="closed with 4000: done") as caught:
            await link.receive()
        assert (caught.value.code, caught.value.reason) == (4000, "done")
        with pytest.raises(LinkClosed):
            await link.send("more")


async def test_a_slow_reader_is_given_up() -> None:
    near, far = memory_pair(1, stalled_seconds=0.01)
    await near.send("first")
    with pytest.raises(SlowReader):
        await near.send("second")
    assert await far.receive() == "first"
    with pytest.raises(LinkClosed) as caught:
        await far.receive()
    assert caught.value.code == 1013


async def test_a_sender_waits_for_the_reader() -> None:
    near, far = memory_pair(1)
    async with anyio.create_task_group() as group:
        group.start_soon(near.send, "a")
        group.start_soon(near.send, "b")
        await anyio.wait_all_tasks_blocked()
        assert [await far.receive(), await far.receive()] == ["a", "b"]
