"""The embedded language model for real: prompts read in advance, and cancelled work that has really stopped."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from uuid import uuid4

import anyio
import pytest

from streams.lane import Lane
from tests.speech.llama_child import MODEL, SYSTEM, ask, busy, first_delta, long, said, servers
from tests.taps import Awaited
from voice.config import Config, LlmConfig
from voice.engines import ContextOverflow, Setup, slots
from voice.engines.llama import LlamaLlm
from voice.events import Message, Priority, Prompt

pytestmark = pytest.mark.anyio

PARTIAL = "I would like to reserve a quiet table near the window for"
FINAL = f"{PARTIAL} seven people tomorrow."


@pytest.fixture(scope="module")
def tap() -> Awaited:
    return Awaited()


@pytest.fixture(scope="module")
async def llm(llama_weights: Path, tap: Awaited) -> AsyncIterator[LlamaLlm]:
    config = LlmConfig(model=MODEL, slots=4, context=1024, threads=1, first_token_seconds=60, stall_seconds=60)
    async with LlamaLlm(Setup(Config(llm=config), lambda name: llama_weights, Lane("llm", 1, 1), tap)) as engine:
        yield engine


def turn(*texts: str) -> Prompt:
    """Words of the caller and of the assistant in turn."""
    roles = ("user", "assistant")
    messages = (Message(roles[n % 2], text) for n, text in enumerate(texts))  # type: ignore[arg-type]
    return Prompt((SYSTEM, *messages), max_tokens=12)


async def test_a_prefill_serves_the_first_turn_that_grows_out_of_it(llm: LlamaLlm) -> None:
    read = await llm.prefill(turn(PARTIAL), request=uuid4().hex)
    await ask(llm, turn("Something else, from another caller."))
    _, _, usage = await ask(llm, turn(FINAL))
    assert usage.cached >= read.prompt - 8


async def test_a_prefill_serves_a_turn_after_an_answer_that_was_cut(llm: LlamaLlm) -> None:
    answer, _, _ = await ask(llm, turn("Who was Ada Lovelace?"))
    cut = " ".join(answer.split()[:3])
    others = [turn(f"Tell me about the number {number}.") for number in range(3)]
    for other in others:
        await ask(llm, other)
    read = await llm.prefill(turn("Who was Ada Lovelace?", cut, PARTIAL), request=uuid4().hex)
    for other in others:
        await ask(llm, other)
    _, _, usage = await ask(llm, turn("Who was Ada Lovelace?", cut, FINAL))
    assert 20 < read.cached < read.prompt - 10
    assert usage.cached >= read.prompt - 8


async def test_an_answer_stops_a_prefill_which_goes_on_after_it(llm: LlamaLlm) -> None:
    prompt = turn(f"{uuid4().hex} " + "a word or two " * 160)
    done = []

    async def prefill() -> None:
        done.append(await llm.prefill(prompt, request=uuid4().hex))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(prefill)
        while not await busy(llm):
            await anyio.lowlevel.checkpoint()
        async with llm.stream(said("Hello!"), request=uuid4().hex, priority=Priority.FINAL) as events:
            await first_delta(events)
            assert not done
    [read] = done
    assert read.cached < read.prompt


async def test_a_cancelled_prefill_stops_and_keeps_what_it_has_read(llm: LlamaLlm, tap: Awaited) -> None:
    tap.calls.clear()
    prompt = turn(f"{uuid4().hex} " + "a word or two " * 160)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: llm.prefill(prompt, request=uuid4().hex))
        while not await busy(llm):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    await tap.until("cancel_to_idle_seconds")
    assert not await busy(llm)
    _, _, usage = await ask(llm, prompt)
    assert 10 < usage.cached < usage.prompt - 100


async def test_a_prefill_that_does_not_fit(llm: LlamaLlm) -> None:
    with pytest.raises(ContextOverflow, match="too long"):
        await llm.prefill(said("word " * 2000), request=uuid4().hex)


async def test_forty_cancelled_at_random_leave_nothing_behind(
    llm: LlamaLlm, tap: Awaited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "LEAK_SECONDS", 9.0)  # a slow machine is no leak
    tap.calls.clear()
    seed = Random(4)
    left = 0

    async def caller() -> None:
        nonlocal left
        for number in range(10):
            with anyio.move_on_after(seed.uniform(0, 0.5)) as scope:
                if seed.random() < 0.2:
                    await llm.prefill(turn(f"Tell me a story about {number}."), request=uuid4().hex)
                else:
                    await ask(llm, long())
            left += scope.cancelled_caught

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(caller)
    await tap.until("cancel_to_idle_seconds", left // 4)  # the others were left while they waited for a slot
    text, _, _ = await ask(llm, said("Hello!"))
    assert text
    assert not await busy(llm)
    assert left > 20
    assert not [call for call in tap.calls if call[0] == "llm_leaked_total"]


async def test_a_process_that_does_not_stop_is_replaced(
    llm: LlamaLlm, tap: Awaited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "LEAK_SECONDS", 0.05)
    monkeypatch.setattr(slots, "STUCK_SECONDS", 0.2)
    monkeypatch.setattr("voice.engines.llama.LOOK_SECONDS", 0.05)
    tap.calls.clear()
    [server] = servers()
    async with llm.stream(long(), request=uuid4().hex, priority=Priority.FINAL) as events:
        await first_delta(events)
        server.suspend()
    assert await tap.until("llm_leaked_total") == [1.0]
    while server.is_running():
        await anyio.lowlevel.checkpoint()
    while not servers() or llm._running is None:
        await anyio.lowlevel.checkpoint()
    text, _, _ = await ask(llm, said("Hello!"))
    assert text
