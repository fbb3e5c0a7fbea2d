"""A small model that says the first clause while the large one reads, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from tests.chat_server import (
    DONE,
    PROMPT,
    REQUEST,
    SSE,
    Scene,
    Server,
    answer,
    ask,
    delta,
    running,
    setup,
    silence,
    then_drop,
    then_silence,
    usage,
)
from voice.engines import EngineError
from voice.engines.chat import ChatLlm
from voice.engines.quick import Quick
from voice.engines.sglang import SglangLlm
from voice.events import Priority, Prompt, TextDelta, Usage

pytestmark = pytest.mark.anyio

READ = SSE + delta("length") + usage(9, 0, 0) + DONE
SMALL = [delta(content=text) for text in ("That is a", " good question", ", I", " think. And", " more")]
REST = SSE + delta(content=" it") + delta(content=" is.") + delta("stop") + usage() + DONE
CLAUSE = "That is a good question,"


@asynccontextmanager
async def both(
    large: Server, small: bytes | Scene, kind: type[ChatLlm | SglangLlm] = SglangLlm, **settings: Any
) -> AsyncIterator[tuple[Quick, Server]]:
    patient = {"first_token_seconds": 60.0, "stall_seconds": 60.0, **settings}
    async with running(Server()) as server:
        server.scenes = [small]
        async with Quick(kind(setup(large.url, **patient)), ChatLlm(setup(server.url, **patient))) as llm:
            yield llm, server


def once(event: anyio.Event, scene: bytes) -> Scene:
    async def play(stream: SocketStream) -> None:
        await event.wait()
        await stream.send(scene)

    return play


async def test_the_small_one_begins_and_the_large_one_goes_on(server: Server) -> None:
    heard = anyio.Event()
    server.scenes = [once(heard, READ), REST]
    async with both(server, then_silence(SSE, *SMALL)) as (llm, small):
        async with llm.stream(PROMPT, request=REQUEST, priority=Priority.FINAL) as events:
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


async def test_a_large_one_that_has_read_first_answers_alone(server: Server) -> None:
    server.scenes = [READ, REST]
    async with both(server, silence) as (llm, small):
        assert await ask(llm) == [TextDelta(" it"), TextDelta(" is."), Usage(9, 4, 2)]
        await small.gone.wait()
    assert "continue_final_message" not in server.chats[1][1]


@pytest.mark.parametrize("scene", [answer(500, {}), then_drop(SSE), SSE + delta("stop") + DONE])
async def test_where_the_small_one_fails_the_large_one_answers_alone(server: Server, scene: bytes | Scene) -> None:
    server.scenes = [REST]
    async with both(server, scene, ChatLlm) as (llm, _):
        assert await ask(llm) == [TextDelta(" it"), TextDelta(" is."), Usage(9, 4, 2)]
    assert len(server.chats) == 1


async def test_a_small_answer_without_a_clause_is_an_opening_too(server: Server) -> None:
    server.scenes = [SSE + delta(content=" ") + delta(content=" sir.") + delta("stop") + DONE]
    async with both(server, SSE + delta(content="Yes") + delta("stop") + DONE, ChatLlm) as (llm, _):
        assert await ask(llm) == [TextDelta("Yes "), TextDelta(""), TextDelta("sir."), Usage()]


async def test_where_the_large_one_fails_the_answer_breaks_off_after_the_clause(server: Server) -> None:
    server.scenes = [answer(500, {})]
    async with (
        both(server, then_silence(SSE, *SMALL), ChatLlm) as (llm, _),
        llm.stream(PROMPT, request=REQUEST, priority=Priority.FINAL) as events,
    ):
        assert await anext(events) == TextDelta(f"{CLAUSE} ")
        with pytest.raises(EngineError, match="failed"):
            await anext(events)


async def test_a_large_one_that_reads_for_long_is_asked_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice.engines.quick.PATIENCE", 0.0)
    server.scenes = [silence, REST]
    async with both(server, then_silence(SSE, *SMALL)) as (llm, _):
        assert len(await ask(llm)) == 4
    assert len(server.chats) == 2


async def test_the_small_one_calls_no_functions(server: Server) -> None:
    server.scenes = [REST]
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    async with both(server, then_silence(SSE, *SMALL), ChatLlm) as (llm, small):
        await ask(llm, Prompt(PROMPT.messages, tools=(tool,)))
        await ask(llm, replace(PROMPT, opening="Well,"))
        assert not small.chats


@pytest.mark.parametrize("begun", [False, True])
async def test_who_leaves_leaves_both(server: Server, begun: bool) -> None:
    server.scenes = [silence]
    async with both(server, then_silence(SSE, *(SMALL if begun else []))) as (llm, small):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, llm)
            while not (server.chats and small.chats):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await small.gone.wait()
        await server.aborted.wait()
