"""The SGLang engine against a server that misbehaves on purpose, over real sockets."""

import json
from dataclasses import replace

import anyio
import pytest
from anyio.abc import SocketStream

from tests.chat_server import (
    DONE,
    GOOD,
    PROMPT,
    READ,
    REQUEST,
    SSE,
    Scene,
    Server,
    ask,
    delta,
    engine,
    event,
    then_drop,
    then_silence,
    usage,
)
from tests.taps import Awaited
from voice.engines import EngineError, sglang
from voice.engines.sglang import SglangLlm
from voice.events import Priority, Prompt, TextDelta, ToolCall, Usage

pytestmark = pytest.mark.anyio


def until_aborted(server: Server, begun: bytes = SSE + delta(content="Hel")) -> Scene:
    async def play(stream: SocketStream) -> None:
        await stream.send(begun)
        await server.aborted.wait()
        await stream.send(SSE.removeprefix(begun[: len(SSE)]) + delta("abort") + usage() + DONE)

    return play


@pytest.mark.parametrize(
    ("priority", "rank"),
    [(Priority.FIRST_CLAUSE, 100), (Priority.FINAL, 100), (Priority.SPECULATIVE, 50), (Priority.BATCH, 0)],
)
async def test_sglang_is_told_our_name_for_the_request_and_its_rank(
    server: Server, priority: Priority, rank: int
) -> None:
    speculation = event(
        {"choices": [], "sglext": {"spec_tokens_details": {"spec_accept_length": 2.5, "spec_accept_rate": 0.75}}}
    )
    server.scenes = [SSE + delta(content="a") + delta("stop") + speculation + usage() + DONE]
    async with engine(server, SglangLlm) as llm, llm.stream(PROMPT, request=REQUEST, priority=priority) as events:
        assert [item async for item in events][-1] == Usage(9, 4, 2, "stop", accept_length=2.5, accept_rate=0.75)
    body = server.chats[0][1]
    assert (body["rid"], body["priority"]) == (REQUEST, rank)
    assert not server.aborted.is_set()


async def test_a_request_that_is_left_is_aborted_by_name_and_seen_to_end(server: Server) -> None:
    server.scenes = [until_aborted(server)]
    tap = Awaited()
    async with engine(server, SglangLlm, tap) as llm:
        async with llm.stream(PROMPT, request=REQUEST, priority=Priority.FINAL) as events:
            assert await anext(events) == TextDelta("Hel")
        await tap.until("cancel_to_idle_seconds")
    path, headers, body = server.requests[-1]
    assert (path, body) == ("/abort_request", {"rid": REQUEST})
    assert headers["authorization"] == "Bearer sesame"
    [(_, seconds, labels)] = tap.calls
    assert labels == {"engine": "sglang"}
    assert seconds > 0
    assert len(server.chats) == 1


@pytest.mark.parametrize("begun", [b"", SSE, SSE + delta(content="Hel")])
async def test_a_cancelled_request_is_aborted_whatever_it_has_sent(server: Server, begun: bytes) -> None:
    reached = anyio.Event()
    played = until_aborted(server, begun)

    async def play(stream: SocketStream) -> None:
        reached.set()
        await played(stream)

    server.scenes = [play, GOOD]
    tap = Awaited()
    async with engine(server, SglangLlm, tap, first_token_seconds=60.0, stall_seconds=60.0) as llm:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, llm)
            await reached.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await tap.until("cancel_to_idle_seconds")
        assert len(await ask(llm)) == 3
    assert [path for path, _, _ in server.requests].count("/abort_request") == 1


async def test_a_request_that_does_not_stop_is_counted_and_cut_off(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sglang, "LEAK_SECONDS", 0.02)
    monkeypatch.setattr(sglang, "STUCK_SECONDS", 0.3)
    server.scenes = [then_silence(SSE, delta(content="Hel"))]
    tap = Awaited()
    async with engine(server, SglangLlm, tap, stall_seconds=60.0) as llm:
        async with llm.stream(PROMPT, request=REQUEST, priority=Priority.FINAL) as events:
            await anext(events)
        await tap.until("llm_leaked_total")
        assert not server.gone.is_set()
        await server.gone.wait()
    assert tap.calls == [("llm_leaked_total", 1, {"engine": "sglang"})]
    assert [path for path, _, _ in server.requests].count("/abort_request") > 1


async def test_where_nobody_takes_an_abort_the_connection_is_closed(server: Server) -> None:
    server.abort_status = 404
    server.scenes = [then_silence(SSE, delta(content="Hel"))]
    tap = Awaited()
    async with engine(server, SglangLlm, tap, stall_seconds=60.0) as llm:
        async with llm.stream(PROMPT, request=REQUEST, priority=Priority.FINAL) as events:
            await anext(events)
        await server.gone.wait()
    assert not tap.calls


async def test_what_is_said_is_read_in_advance_without_an_answer(server: Server) -> None:
    server.scenes = [READ]
    async with engine(server, SglangLlm) as llm:
        assert await llm.prefill(PROMPT, request=REQUEST) == Usage(9, 4, 0, "length")
    [(_, body)] = server.chats
    assert (body["max_tokens"], body["priority"], body["rid"]) == (0, 25, REQUEST)


async def test_an_answer_goes_on_from_its_opening_without_thinking(server: Server) -> None:
    async with engine(server, SglangLlm) as llm:
        await ask(llm, replace(PROMPT, opening="Well,"))
    body = server.chats[0][1]
    assert body["messages"][-1] == {"role": "assistant", "content": "Well,"}
    assert body["continue_final_message"]
    assert "add_generation_prompt" not in body
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_a_cancelled_prefill_is_aborted(server: Server) -> None:
    server.scenes = [until_aborted(server, b"")]
    tap = Awaited()
    async with engine(server, SglangLlm, tap, first_token_seconds=60.0) as llm:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: llm.prefill(PROMPT, request=REQUEST))
            while not server.chats:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await tap.until("cancel_to_idle_seconds")


async def test_a_dead_sglang_server_holds_nobody_up(server: Server) -> None:
    server.scenes = [then_drop(SSE, delta(content="Hel"))]
    async with engine(server, SglangLlm) as llm:
        with pytest.raises(EngineError, match="the SGLang server broke off"):
            await ask(llm)


async def test_calls_that_sglang_leaves_in_the_text_are_found(server: Server) -> None:
    text = '[\n{"name": "look", "parameters": {"at": "sky"}}\n]'
    server.scenes = [SSE + b"".join(delta(content=letter) for letter in text) + delta("stop") + usage() + DONE]
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    async with engine(server, SglangLlm) as llm:
        call, counts = await ask(llm, Prompt(PROMPT.messages, tools=(tool,), tool_choice="required"))
    assert isinstance(call, ToolCall)
    assert (call.name, json.loads(call.arguments)) == ("look", {"at": "sky"})
    assert counts == Usage(9, 4, 2, "tool_calls")
