"""The embedded language model for real: its process, its answers, its deaths."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import anyio
import psutil
import pytest

from tests.speech.llama_child import SYSTEM, ask, busy, first_delta, long, said, servers, setup, until_idle
from voice.engines import ContextOverflow, EngineError
from voice.engines.llama import LlamaLlm
from voice.events import Message, Priority, Prompt, ToolCall

pytestmark = pytest.mark.anyio

CITY = {"city": {"type": "string", "maxLength": 40}}  # else so small a model may go on until it is cut off
TOOLS = (
    {
        "type": "function",
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": CITY, "required": ["city"]},
    },
    {"type": "function", "name": "hang_up", "parameters": {"type": "object", "properties": {}}},
)


@pytest.fixture(scope="module")
async def llm(llama_weights: Path) -> AsyncIterator[LlamaLlm]:
    async with LlamaLlm(setup(llama_weights)) as engine:
        yield engine


async def test_it_answers_and_counts(llm: LlamaLlm) -> None:
    text, calls, usage = await ask(llm, said("Say hello to me."))
    assert text.strip()
    assert not calls
    assert usage.prompt > 20
    assert 0 < usage.completion <= 40
    assert usage.finish in ("stop", "length")
    assert llm.context == 1024


async def test_a_grown_conversation_is_mostly_cached(llm: LlamaLlm) -> None:
    first = said("My name is Ada and I like green tea more than anything else in the world.")
    text, _, before = await ask(llm, first)
    grown = Prompt((*first.messages, Message("assistant", text), Message("user", "What do I like?")), max_tokens=10)
    _, _, after = await ask(llm, grown)
    assert after.cached >= before.prompt - 4
    assert after.prompt > after.cached


async def test_callers_beyond_the_slots_wait_and_are_served(llm: LlamaLlm) -> None:
    answers: list[str] = []

    async def caller(number: int) -> None:
        text, _, _ = await ask(llm, said(f"Tell me about the number {number}."))
        answers.append(text)

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(caller, number)
    assert len(answers) == 5
    assert all(answers)


async def test_leaving_frees_the_slot(llm: LlamaLlm) -> None:
    async with llm.stream(long(), request=uuid4().hex, priority=Priority.FINAL) as events:
        await first_delta(events)
    await until_idle(llm)


async def test_cancelling_frees_the_slot(llm: LlamaLlm) -> None:
    started = anyio.Event()

    async def listen() -> None:
        async with llm.stream(long(), request=uuid4().hex, priority=Priority.FINAL) as events:
            async for _ in events:
                started.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await started.wait()
        tasks.cancel_scope.cancel()
    await until_idle(llm)


async def test_cancelling_stops_the_reading_of_a_prompt(llm: LlamaLlm) -> None:
    prompt = Prompt((Message("user", f"{uuid4().hex} " + "a word or two " * 220),), max_tokens=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, llm, prompt)
        while not await busy(llm):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    await until_idle(llm)
    _, _, usage = await ask(llm, prompt)
    assert usage.cached < usage.prompt - 100


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", {"get_weather", "hang_up"}),
        ({"type": "function", "name": "get_weather"}, {"get_weather"}),
        ({"type": "function", "name": "hang_up"}, {"hang_up"}),
    ],
)
async def test_a_demanded_call_is_made(llm: LlamaLlm, choice: str | dict[str, object], names: set[str]) -> None:
    messages = (SYSTEM, Message("user", "What is the weather in Paris?"))
    prompt = Prompt(messages, tools=TOOLS, tool_choice=choice, max_tokens=120)
    text, [call], usage = await ask(llm, prompt)
    assert text == ""
    assert call.name in names
    assert set(json.loads(call.arguments)) == ({"city"} if call.name == "get_weather" else set())
    assert usage.finish == "tool_calls"


async def test_a_demanded_call_that_is_cut_off_is_an_error(llm: LlamaLlm) -> None:
    prompt = Prompt((Message("user", "Weather?"),), tools=TOOLS, tool_choice="required", max_tokens=3)
    with pytest.raises(EngineError, match="max_output_tokens"):
        await ask(llm, prompt)


async def test_an_outcome_of_a_call_is_understood(llm: LlamaLlm) -> None:
    call = ToolCall("call_1", "get_weather", '{"city": "Paris"}')
    messages = (
        SYSTEM,
        Message("user", "What is the weather in Paris?"),
        Message("assistant", "", calls=(call,)),
        Message("tool", '{"sky": "sunny"}', call_id="call_1"),
    )
    text, _, _ = await ask(llm, Prompt(messages, tools=TOOLS, max_tokens=30))
    assert text


async def test_a_prompt_that_does_not_fit(llm: LlamaLlm) -> None:
    with pytest.raises(ContextOverflow, match="too long"):
        await ask(llm, said("word " * 2000))


async def test_a_killed_process_is_one_failed_answer(llm: LlamaLlm) -> None:
    [server] = servers()
    async with llm.stream(long(), request=uuid4().hex, priority=Priority.FINAL) as events:
        await first_delta(events)
        server.kill()
        with pytest.raises(EngineError, match="the embedded language model"):
            async for _ in events:
                pass
    while True:
        try:
            text, _, _ = await ask(llm, said("Say hello to me."))
        except EngineError as error:
            assert "the embedded language model" in str(error)  # noqa: PT017
            await anyio.lowlevel.checkpoint()
        else:
            break
    assert text
    [again] = servers()
    assert again.pid != server.pid


async def test_no_process_stays_behind(llama_weights: Path) -> None:
    before = {server.pid for server in servers()}
    async with LlamaLlm(setup(llama_weights)):
        mine = [server for server in servers() if server.pid not in before]
        assert len(mine) == 1
    assert not mine[0].is_running()


def test_the_process_dies_with_its_parent(llama_weights: Path) -> None:
    script = """
import sys, anyio
from pathlib import Path
from tests.speech.llama_child import LlamaLlm, servers, setup

async def main():
    async with LlamaLlm(setup(Path(sys.argv[1]))):
        print(servers()[0].pid, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script, str(llama_weights)], cwd=root, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    gone, _ = psutil.wait_procs([server], timeout=30)
    assert gone


async def test_weights_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="0 GGUF files"):
        await LlamaLlm(setup(tmp_path)).__aenter__()
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(EngineError, match=r"cannot load broken\.gguf"):
        await LlamaLlm(setup(tmp_path)).__aenter__()
    assert not [server for server in servers() if "broken" in " ".join(server.cmdline())]
