"""A small model that says the first clause while the large one reads, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from tests import chat_server as chat
from voice.engines import EngineError
from voice.engines.chat import ChatLlm
from voice.engines.quick import Quick
from voice.engines.sglang import SglangLlm
from voice.events import Priority, Prompt, TextDelta, Usage

pytestmark = pytest.mark.anyio

SMALL = [chat.delta(content=text) for text in ("That is a", " good question", ", I", " think. And", " more")]
REST = chat.says(" it", " is.")
CLAUSE = "That is a good question,"


@asynccontextmanager
async def both(
    server: chat.Server, small: bytes | chat.Scene, kind: type[ChatLlm | SglangLlm] = SglangLlm
) -> AsyncIterator[tuple[Quick, chat.Server]]:
    async with (
        chat.running(chat.Server()) as other,
        chat.engine(server, kind, **chat.PATIENT) as large,
        chat.engine(other, **chat.PATIENT) as quick,
        anyio.create_task_group() as tasks,
    ):
        other.scenes = [small]
        yield Quick(large, quick, tasks), other
        tasks.cancel_scope.cancel()


async def test_the_small_one_begins_and_the_large_one_goes_on(server: chat.Server) -> None:
    heard = anyio.Event()
    server.scenes = [chat.after(heard, chat.READ), REST]
    async with both(server, chat.then_silence(chat.SSE, *SMALL)) as (llm, small):
        async with llm.stream(chat.PROMPT, request=chat.REQUEST, priority=Priority.FINAL) as events:
            assert await anext(events) == TextDelta(f"{CLAUSE} ")
            assert len(server.chats) == 1
            heard.set()
            assert [event async for event in events] == [TextDelta("it"), TextDelta(" is."), Usage(9, 4, 2)]
        await small.gone.wait()
    (_, read), (_, asked) = server.chats
    assert read["max_tokens"] == 0
    assert asked["messages"] == [*read["messages"], {"role": "assistant", "content": CLAUSE}]
    assert asked["continue_final_message"]
    assert len({read["rid"], asked["rid"]}) == 2


async def test_a_large_one_that_has_read_first_answers_alone(server: chat.Server) -> None:
    server.scenes = [chat.READ, REST]
    async with both(server, chat.silence) as (llm, small):
        assert await chat.ask(llm) == [TextDelta(" it"), TextDelta(" is."), Usage(9, 4, 2)]
        await small.gone.wait()
    assert "continue_final_message" not in server.chats[1][1]


@pytest.mark.parametrize("scene", [chat.answer(500, {}), chat.then_drop(chat.SSE), chat.says()])
async def test_where_the_small_one_fails_the_large_one_answers_alone(
    server: chat.Server, scene: bytes | chat.Scene
) -> None:
    server.scenes = [REST]
    async with both(server, scene, ChatLlm) as (llm, _):
        assert await chat.ask(llm) == [TextDelta(" it"), TextDelta(" is."), Usage(9, 4, 2)]
    assert len(server.chats) == 1


async def test_a_small_answer_without_a_clause_is_an_opening_too(server: chat.Server) -> None:
    server.scenes = [chat.says(" ", " sir.")]
    async with both(server, chat.says("Yes"), ChatLlm) as (llm, _):
        assert await chat.ask(llm) == [TextDelta("Yes "), TextDelta(""), TextDelta("sir."), Usage(9, 4, 2)]


async def test_where_the_large_one_fails_the_answer_breaks_off_after_the_clause(server: chat.Server) -> None:
    server.scenes = [chat.answer(500, {})]
    async with (
        both(server, chat.then_silence(chat.SSE, *SMALL), ChatLlm) as (llm, _),
        llm.stream(chat.PROMPT, request=chat.REQUEST, priority=Priority.FINAL) as events,
    ):
        assert await anext(events) == TextDelta(f"{CLAUSE} ")
        with pytest.raises(EngineError, match="failed"):
            await anext(events)


async def test_a_large_one_that_reads_for_long_is_asked_all_the_same(
    server: chat.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice.engines.quick.PATIENCE", 0.0)
    server.scenes = [chat.silence, REST]
    async with both(server, chat.then_silence(chat.SSE, *SMALL)) as (llm, _):
        assert len(await chat.ask(llm)) == 4
    assert len(server.chats) == 2


async def test_the_small_one_calls_no_functions(server: chat.Server) -> None:
    server.scenes = [REST]
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    async with both(server, chat.then_silence(chat.SSE, *SMALL), ChatLlm) as (llm, small):
        await chat.ask(llm, Prompt(chat.PROMPT.messages, tools=(tool,)))
        await chat.ask(llm, replace(chat.PROMPT, opening="Well,"))
        assert not small.chats


@pytest.mark.parametrize("begun", [False, True])
async def test_who_leaves_leaves_both(server: chat.Server, begun: bool) -> None:
    server.scenes = [chat.silence]
    async with both(server, chat.then_silence(chat.SSE, *(SMALL if begun else []))) as (llm, small):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chat.ask, llm)
            while not (server.chats and small.chats):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await small.gone.wait()
        await server.aborted.wait()
