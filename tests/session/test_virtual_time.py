"""Tests in this folder run on virtual time: waiting is free, and waiting for nothing is an error."""

import anyio
import pytest

from streams.virtual import Deadlock, VirtualLoop


@pytest.mark.anyio
async def test_an_hour_passes_at_once() -> None:
    order: list[str] = []

    async def after(seconds: float, name: str) -> None:
        await anyio.sleep(seconds)
        order.append(name)

    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(after, 3600, "late")
        group.start_soon(after, 0.02, "soon")
    assert order == ["soon", "late"]
    assert anyio.current_time() - start == pytest.approx(3600)


def test_waiting_for_nothing_is_told() -> None:
    with pytest.raises(Deadlock, match="no timer is scheduled"):
        anyio.run(anyio.Event().wait, backend_options={"loop_factory": VirtualLoop})
