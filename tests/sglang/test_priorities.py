"""Who goes first on a real server that is full."""

from uuid import uuid4

import anyio
import httpx
import pytest
from anyio import current_time

from tests.sglang.asking import until_at_work
from tests.sglang.servers import Tell
from voice.engines.sglang import SglangLlm
from voice.events import Message, Priority, Prompt

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("server", ["plain"], indirect=True)]

FULL, WAITING = 16, 4
"""Requests the server runs at a time, and those that wait."""


async def first_piece(llm: SglangLlm) -> float:
    """Seconds until a live caller's answer begins, the prompt being new."""
    prompt = Prompt((Message("user", f"{uuid4().hex} Hello!"),), max_tokens=2)
    begun = current_time()
    async with llm.stream(prompt, request=uuid4().hex, priority=Priority.FINAL) as events:
        await anext(events)
        seconds = current_time() - begun
        async for _ in events:
            pass
    return seconds


@pytest.mark.parametrize("busy", [Priority.SPECULATIVE, Priority.BATCH], ids=lambda busy: busy.name.lower())
async def test_a_live_caller_overtakes(llm: SglangLlm, http: httpx.AsyncClient, tell: Tell, busy: Priority) -> None:
    await first_piece(llm)
    alone = sorted([await first_piece(llm) for _ in range(5)])
    full = anyio.Event()
    begun: set[int] = set()
    ended: list[int] = []

    async def other(number: int) -> None:
        words = f"Write a very long story about sailor number {number}, with many chapters."
        async with llm.stream(
            Prompt((Message("user", words),), max_tokens=700), request=uuid4().hex, priority=busy
        ) as events:
            async for _ in events:
                begun.add(number)
                if len(begun) == FULL:
                    full.set()
        ended.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(FULL + WAITING):
            tasks.start_soon(other, number)
        await full.wait()
        crowded = sorted([await first_piece(llm) for _ in range(5)])
        tell(
            f"a live caller's first token, median of 5: alone {1000 * alone[2]:.0f} ms, "
            f"with {FULL} {busy.name.lower()} requests running {1000 * crowded[2]:.0f} ms"
        )
        assert len(ended) <= WAITING  # in turn, it would have had to see more of them go
        tasks.cancel_scope.cancel()
    await until_at_work(http, 0)
