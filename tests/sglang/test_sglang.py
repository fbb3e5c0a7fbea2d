"""The SGLang engine against a real server: REJOINDER_TEST_SGLANG_URL names one, with `--enable-metrics`."""

import json
import os
from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import httpx
import pytest

from streams.lane import Lane
from streams.tap import SILENT
from voice.config import Config, LlmConfig
from voice.engines import ContextOverflow, Setup
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
async def llm() -> AsyncIterator[SglangLlm]:
    config = LlmConfig(engine="sglang", url=URL, context=1, first_token_seconds=60, stall_seconds=60)

    def model(name: str) -> None:
        raise AssertionError(name)

    async with SglangLlm(Setup(Config(llm=config), model, Lane("llm", 1, 1), SILENT)) as engine:  # type: ignore[arg-type]
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


async def test_leaving_stops_the_server(llm: SglangLlm, http: httpx.AsyncClient) -> None:
    generated, aborted = [
        await figure(http, name) for name in ("generation_tokens_total", "num_aborted_requests_total")
    ]
    async with llm.stream(LONG, request=uuid4().hex, priority=Priority.SPECULATIVE) as events:
        await anext(events)
    with anyio.fail_after(30):
        while await figure(http, "num_aborted_requests_total") == aborted:
            await anyio.lowlevel.checkpoint()
        while (await http.get("/v1/loads")).json()["loads"][0]["num_running_reqs"]:
            await anyio.lowlevel.checkpoint()
    await ask(llm, Prompt((Message("user", "Hi"),), max_tokens=1))
    assert await figure(http, "generation_tokens_total") - generated < LONG.max_tokens / 4
