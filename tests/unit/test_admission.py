"""Who gets in, who is turned away, and when everybody has left."""

import anyio
import pytest

from streams.admission import Admission, Refused
from tests.taps import Recorder

pytestmark = pytest.mark.anyio


async def test_no_more_than_the_limit_over_all_transports() -> None:
    tap = Recorder()
    admission = Admission(2, tap)
    with admission.admit("websocket"), admission.admit("webrtc"):
        with pytest.raises(Refused, match="the server is full; try again in 5 s") as caught, admission.admit("webrtc"):
            raise AssertionError("let in")
        assert (caught.value.reason, caught.value.retry_after) == ("full", 5)
        assert admission.sessions == 2
    with admission.admit("websocket"):
        assert admission.sessions == 1
    assert ("sessions_refused_total", 1.0, {"reason": "full"}) in tap.calls
    assert [value for name, value, labels in tap.calls if labels == {"transport": "websocket"}] == [1, 0, 1, 0]


async def test_a_session_that_fails_gives_its_place_back() -> None:
    admission = Admission(1)
    with pytest.raises(ZeroDivisionError), admission.admit("websocket"):
        raise ZeroDivisionError
    assert admission.sessions == 0


async def test_draining_admits_nobody_and_waits_for_the_last() -> None:
    admission, leave = Admission(2), anyio.Event()

    async def stay() -> None:
        with admission.admit("websocket"):
            await leave.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(stay)
        group.start_soon(stay)
        await anyio.wait_all_tasks_blocked()
        admission.drain()
        with pytest.raises(Refused, match="draining"), admission.admit("websocket"):
            raise AssertionError("let in")
        assert not await admission.emptied(0)
        leave.set()
        assert await admission.emptied(60)
