"""The SGLang engine against a real server: REJOINDER_TEST_SGLANG_URL names one, with `--enable-metrics`."""

import json
import os
from collections.abc import AsyncIterator
from random import Random
from uuid import uuid4

import anyio
import httpx
import pytest

from streams.lane import Lane
from tests.taps import Awaited
from voice.config import Config, LlmConfig
from voice.engines import ContextOverflow, Setup, sglang
from voice.engines.sglang import SglangLlm
from voice.events import LlmEvent, Message, Priority, Prompt, TextDelta, ToolCall, Usage

URL = os.environ.get("REJOINDER_TEST_SGLANG_URL", "")
if not URL:
    pytest.skip("no SGLang server: set REJOINDER_TEST_SGLANG_URL to one's http://HOST:PORT", allow_module_level=True)
pytestmark = pytest.mark.anyio

LONG = Prompt((Message("user", "Write a very long story about a sailor, with many chapters."),), max_tokens=1500)
TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def tap() -> Awaited:
    return Awaited()


@pytest.fixture
async def llm(tap: Awaited) -> AsyncIterator[SglangLlm]:
    config = LlmConfig(engine="sglang", url=URL, context=1, first_token_seconds=60, stall_seconds=60)

    def model(name: str) -> None:
        raise AssertionError(name)

    async with SglangLlm(Setup(Config(llm=config), model, Lane("llm", 1, 1), tap)) as engine:  # type: ignore[arg-type]
        yield engine


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=URL, trust_env=False) as client:
        yield client


async def ask(llm: SglangLlm, prompt: Prompt, priority: Priority = Priority.FINAL) -> list[LlmEvent]:
    async with llm.stream(prompt, request=uuid4().hex, priority=priority) as events:
        return [event async for event in events]


async def figure(http: httpx.AsyncClient, name: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"sglang:{name}{{"))


async def at_work(http: httpx.AsyncClient) -> int:
    [load] = (await http.get("/v1/loads")).json()["loads"]
    return int(load["num_running_reqs"]) + int(load["num_waiting_reqs"])


async def test_an_answer_with_its_usage_and_a_warm_cache(llm: SglangLlm) -> None:
    assert llm.context > 1
    messages = (Message("system", "Answer in one short sentence."), Message("user", f"What is {uuid4().hex}?"))
    await ask(llm, Prompt(messages, max_tokens=4))
    *deltas, usage = await ask(llm, Prompt(messages, max_tokens=4))
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(usage, Usage)
    assert usage.prompt - 1 <= usage.cached < usage.prompt
    assert 0 < usage.completion <= 4


@pytest.mark.parametrize("priority", list(Priority))
async def test_every_priority_is_taken(llm: SglangLlm, priority: Priority) -> None:
    *_, usage = await ask(llm, Prompt((Message("user", "Hi"),), max_tokens=1), priority)
    assert isinstance(usage, Usage)


async def test_a_demanded_call_is_made(llm: SglangLlm) -> None:
    messages = (Message("user", "What is the weather in Paris?"),)
    call, usage = await ask(llm, Prompt(messages, tools=(TOOL,), tool_choice="required", temperature=0))
    assert isinstance(call, ToolCall)
    assert call.name == "get_weather"
    assert set(json.loads(call.arguments)) == {"city"}
    assert isinstance(usage, Usage)
    assert usage.finish == "tool_calls"


async def test_a_prompt_that_does_not_fit(llm: SglangLlm) -> None:
    with pytest.raises(ContextOverflow):
        await ask(llm, Prompt((Message("user", "word " * 2 * llm.context),)))


async def test_a_prefill_serves_the_prompt_that_grows_out_of_it(llm: SglangLlm) -> None:
    system = Message("system", f"{uuid4().hex}: answer in one short sentence.")
    partial = Prompt((system, Message("user", "I would like to reserve a table for")), tools=(TOOL,))
    final = Prompt((system, Message("user", "I would like to reserve a table for six, please.")), (TOOL,), max_tokens=1)
    read = await llm.prefill(partial, request=uuid4().hex)
    assert read.completion == 0
    *_, usage = await ask(llm, final)
    assert isinstance(usage, Usage)
    assert read.cached < read.prompt - 20
    assert usage.cached > read.prompt - 10


async def test_a_prefill_that_does_not_fit(llm: SglangLlm) -> None:
    with pytest.raises(ContextOverflow):
        await llm.prefill(Prompt((Message("user", "word " * 2 * llm.context),)), request=uuid4().hex)


async def test_leaving_stops_the_server(llm: SglangLlm, http: httpx.AsyncClient, tap: Awaited) -> None:
    generated = await figure(http, "generation_tokens_total")
    async with llm.stream(LONG, request=uuid4().hex, priority=Priority.SPECULATIVE) as events:
        await anext(events)
    await tap.until("cancel_to_idle_seconds")
    assert await at_work(http) == 0
    await ask(llm, Prompt((Message("user", "Hi"),), max_tokens=1))
    assert await figure(http, "generation_tokens_total") - generated < LONG.max_tokens / 4


async def test_two_hundred_cancelled_at_random_leave_nothing_behind(
    llm: SglangLlm, http: httpx.AsyncClient, tap: Awaited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sglang, "LEAK_SECONDS", 9.0)  # a slow machine is no leak
    seed = Random(4)
    left = 0

    async def caller() -> None:
        nonlocal left
        for number in range(50):
            prompt = Prompt((Message("user", f"Tell me a long story about the number {number}."),), max_tokens=400)
            request, priority = uuid4().hex, seed.choice([Priority.FINAL, Priority.SPECULATIVE])
            with anyio.move_on_after(seed.uniform(0, 1)) as scope:
                if seed.random() < 0.2:
                    await llm.prefill(prompt, request=request)
                else:
                    async with llm.stream(prompt, request=request, priority=priority) as events:
                        for _ in range(seed.randrange(10)):
                            await anext(events)
            left += scope.cancelled_caught

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(caller)
    with anyio.fail_after(60):
        while await at_work(http):
            await anyio.lowlevel.checkpoint()
    assert left > 50
    with anyio.fail_after(60):
        seconds = sorted(await tap.until("cancel_to_idle_seconds", left // 2))
    print(f"{len(seconds)} cancelled, idle after p50 {seconds[len(seconds) // 2]:.3f} s, p95 {seconds[-10]:.3f} s")
    assert not [call for call in tap.calls if call[0] == "llm_leaked_total"]
