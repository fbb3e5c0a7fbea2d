"""The SGLang engine against a real server: in every way it decodes, but for what decoding has no part in."""

import json
from random import Random
from uuid import uuid4

import anyio
import httpx
import pytest
from anyio import current_time

from tests.sglang.asking import LONG, answer, ask, figure, until_at_work
from tests.sglang.servers import PLAIN, Tell
from tests.taps import Awaited
from voice.engines import ContextOverflow, sglang
from voice.engines.sglang import SglangLlm
from voice.events import Message, Priority, Prompt, TextDelta, ToolCall, Usage
from voice.realtime.shapes import new_id

pytestmark = pytest.mark.anyio

HI = Prompt((Message("user", "Hi"),), max_tokens=1)
TOOL = {
    "type": "function",
    "name": "set_light",
    "parameters": {
        "type": "object",
        "properties": {
            "room": {"enum": ["kitchen", "bedroom"]},
            "brightness": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["room", "brightness"],
        "additionalProperties": False,
    },
}


async def test_an_answer_comes_piece_by_piece_while_the_server_works(llm: SglangLlm, http: httpx.AsyncClient) -> None:
    async with llm.stream(LONG, request=uuid4().hex, priority=Priority.FINAL) as events:
        assert isinstance(await anext(events), TextDelta)
        await until_at_work(http, 1)
        for _ in range(20):
            assert isinstance(await anext(events), TextDelta)
    await until_at_work(http, 0)


async def test_an_answer_with_its_usage_and_a_warm_cache(llm: SglangLlm) -> None:
    assert llm.context > 1
    messages = (Message("system", "Answer in one short sentence."), Message("user", f"What is {uuid4().hex}?"))
    await ask(llm, Prompt(messages, max_tokens=4))
    text, usage = await answer(llm, Prompt(messages, max_tokens=4))
    assert text
    assert usage.prompt - 1 <= usage.cached < usage.prompt
    assert 0 < usage.completion <= 4
    assert usage.finish == "length"


@pytest.mark.parametrize("server", [PLAIN], indirect=True)
async def test_every_priority_is_taken(llm: SglangLlm) -> None:
    for priority in Priority:
        *_, usage = await ask(llm, HI, priority)
        assert isinstance(usage, Usage)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "set_light"}], ids=["any", "named"])
async def test_a_demanded_call_is_made_with_the_arguments_it_must_have(llm: SglangLlm, choice: str) -> None:
    messages = (Message("user", "Please make it bright in the place where I cook."),)
    call, usage = await ask(llm, Prompt(messages, tools=(TOOL,), tool_choice=choice, temperature=1))
    assert isinstance(call, ToolCall)
    assert call.name == "set_light"
    arguments = json.loads(call.arguments)
    assert set(arguments) == {"room", "brightness"}
    assert arguments["room"] in ("kitchen", "bedroom")
    assert arguments["brightness"] in range(10)
    assert isinstance(usage, Usage)
    assert usage.finish == "tool_calls"


@pytest.mark.parametrize("server", [PLAIN], indirect=True)
async def test_a_prompt_that_does_not_fit(llm: SglangLlm) -> None:
    with pytest.raises(ContextOverflow):
        await ask(llm, Prompt((Message("user", "word " * 2 * llm.context),)))
    with pytest.raises(ContextOverflow):
        await llm.prefill(Prompt((Message("user", "word " * 2 * llm.context),)), request=uuid4().hex)


async def test_leaving_stops_the_server(llm: SglangLlm, http: httpx.AsyncClient, tap: Awaited, tell: Tell) -> None:
    generated = await figure(http, "generation_tokens_total")
    for number in range(1, 21):
        async with llm.stream(LONG, request=uuid4().hex, priority=Priority.SPECULATIVE) as events:
            for _ in range(number % 5 + 1):
                await anext(events)
        seconds = await tap.until("cancel_to_idle_seconds", number)
    await until_at_work(http, 0)
    await ask(llm, HI)
    assert await figure(http, "generation_tokens_total") - generated < LONG.max_tokens
    tell(f"20 answers aborted one by one, {idle_after(seconds)}")


async def test_a_client_that_is_gone_stops_the_server(llm: SglangLlm, server: str, http: httpx.AsyncClient) -> None:
    generated = await figure(http, "generation_tokens_total")
    body = {"model": "", "messages": [{"role": "user", "content": LONG.messages[0].text}], "max_tokens": 1500}
    async with (
        httpx.AsyncClient(base_url=server, trust_env=False, timeout=60) as client,
        client.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as response,
    ):
        await anext(response.aiter_lines())
    await until_at_work(http, 0)
    await ask(llm, HI)
    assert await figure(http, "generation_tokens_total") - generated < LONG.max_tokens / 4


@pytest.mark.parametrize("server", [PLAIN], indirect=True)
async def test_an_abort_matches_by_prefix_so_names_have_one_length(llm: SglangLlm, http: httpx.AsyncClient) -> None:
    """SGLang's own trap first: aborting `x-1` ends `x-10`. Then names as ours are: one is left, the other goes on."""
    stem = uuid4().hex

    async def two(leave: str, other: str) -> str:
        """Leave one of two answers; how the other ends, or that it goes on."""
        async with llm.stream(LONG, request=other, priority=Priority.FINAL) as events:
            await anext(events)
            async with llm.stream(LONG, request=leave, priority=Priority.FINAL) as left:
                await anext(left)
            await until_at_work(http, 1 if len(leave) == len(other) else 0)
            for _ in range(40):
                event = await anext(events)
                if isinstance(event, Usage):
                    return event.finish
        return "goes on"

    assert await two(f"{stem}-1", f"{stem}-10") == "abort"
    assert await two(f"{stem}1", f"{stem}2") == "goes on"
    assert {len(new_id("resp")) for _ in range(100)} == {len("resp_") + 21}
    await until_at_work(http, 0)


async def stands_still(llm: SglangLlm, http: httpx.AsyncClient) -> bool:
    """Whether one token asked for is all that is generated. The counter takes in an answer some time after its end; one
    that went on would be counted for longer than ten short answers take."""
    for _ in range(10):
        generated = await figure(http, "generation_tokens_total")
        await ask(llm, HI)
        if await figure(http, "generation_tokens_total") == generated + 1:
            return True
    return False


@pytest.mark.parametrize("server", [PLAIN], indirect=True)
async def test_two_hundred_cancelled_at_random_leave_nothing_behind(
    llm: SglangLlm, http: httpx.AsyncClient, tap: Awaited, monkeypatch: pytest.MonkeyPatch, tell: Tell
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
    last = current_time()
    await until_at_work(http, 0)
    gone = current_time() - last
    assert await stands_still(llm, http)
    assert left > 50
    with anyio.fail_after(60):
        seconds = await tap.until("cancel_to_idle_seconds", left // 2)
    tell(
        f"{len(seconds)} of 200 answers of four callers aborted, {idle_after(seconds)}; "
        f"the server says that nothing runs {1000 * gone:.0f} ms after the last"
    )
    assert not [call for call in tap.calls if call[0] == "llm_leaked_total"]


def idle_after(seconds: list[float]) -> str:
    p50, p95 = (1000 * sorted(seconds)[int(len(seconds) * share)] for share in (0.5, 0.95))
    return f"idle after p50 {p50:.0f} ms, p95 {p95:.0f} ms"
