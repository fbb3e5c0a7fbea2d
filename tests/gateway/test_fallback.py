"""A fallback that answers while the first language model cannot, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.chat_server import GOOD, PROMPT, REQUEST, SSE, Scene, Server, answer, delta, engine, running, says, then_drop
from tests.taps import Recorder
from voice.engines import ContextOverflow, EngineError, Unfit, breaker
from voice.engines.chat import ChatLlm
from voice.engines.fallback import Fallback
from voice.engines.sglang import SglangLlm
from voice.events import Priority, TextDelta

pytestmark = pytest.mark.anyio

SECOND = says("Second.")
DOWN = answer(500, {})


@asynccontextmanager
async def both(
    server: Server, kind: type[ChatLlm | SglangLlm] = ChatLlm
) -> AsyncIterator[tuple[Fallback, Server, Recorder]]:
    tap = Recorder()
    async with (
        running(Server()) as other,
        engine(server, kind, tap) as primary,
        engine(other, tap=tap, model="second", context=99) as fallback,
    ):
        other.scenes = [SECOND]
        yield Fallback(primary, fallback, tap), other, tap


def reasons(tap: Recorder) -> list[str]:
    return [labels["reason"] for name, _, labels in tap.calls if name == "llm_fallbacks_total"]


async def said(llm: Any, request: str = REQUEST) -> str:
    async with llm.stream(PROMPT, request=request, priority=Priority.FINAL) as events:
        return "".join([event.text async for event in events if isinstance(event, TextDelta)])


async def test_while_the_first_answers_the_other_is_not_asked(server: Server) -> None:
    async with both(server) as (llm, other, tap):
        assert await said(llm) == "Hello."
        assert llm.context == 4096
    assert not other.chats
    assert not reasons(tap)


@pytest.mark.parametrize("scene", [DOWN, answer(401, {}), answer(429, {}), then_drop(b""), then_drop(SSE)])
async def test_what_the_first_cannot_begin_the_other_answers(server: Server, scene: bytes | Scene) -> None:
    server.scenes = [scene]
    async with both(server) as (llm, _, tap):
        assert await said(llm) == "Second."
    assert reasons(tap) == ["failed"]


async def test_what_the_first_has_begun_nobody_else_goes_on_with(server: Server) -> None:
    server.scenes = [then_drop(SSE, delta(content="Hel"))]
    async with both(server) as (llm, other, tap):
        with pytest.raises(EngineError, match="broke off"):
            await said(llm)
        assert not other.chats
    assert not reasons(tap)


@pytest.mark.parametrize(
    ("scene", "error"),
    [(answer(400, {}), Unfit), (answer(400, {"error": {"code": "context_length_exceeded"}}), ContextOverflow)],
)
async def test_a_request_at_fault_is_nobodys_failure(server: Server, scene: bytes, error: type[EngineError]) -> None:
    server.scenes = [scene]
    async with both(server) as (llm, other, _):
        for _ in range(5):
            with pytest.raises(error):
                await said(llm)
        server.scenes = [GOOD]
        assert await said(llm) == "Hello."
        assert not other.chats


async def test_one_that_fails_is_left_alone(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.scenes = [DOWN]
    async with both(server) as (llm, _, tap):
        for number in range(5):
            assert await said(llm, str(number)) == "Second."
        assert reasons(tap) == ["failed"] * 3 + ["open"] * 2
        assert len(server.chats) == 3
        assert [record.message for record in caplog.records].count(
            "the language model fails; its fallback answers"
        ) == 1
    assert PROMPT.messages[1].text not in caplog.text


async def test_a_trial_closes_the_circuit(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.scenes = [DOWN, DOWN, DOWN, GOOD]
    now = 0.0
    monkeypatch.setattr("voice.engines.fallback.current_time", lambda: now)
    async with both(server) as (llm, _, tap):
        assert [await said(llm, str(number)) for number in range(4)] == ["Second."] * 4
        now = breaker.FIRST_PAUSE
        assert [await said(llm, str(number)) for number in range(4, 6)] == ["Hello."] * 2
    assert reasons(tap) == ["failed"] * 3 + ["open"]
    assert "the language model answers again" in caplog.text


async def test_reading_in_advance_tries_the_first_so_that_no_caller_has_to(server: Server) -> None:
    server.scenes = [DOWN]
    async with both(server, SglangLlm) as (llm, other, tap):
        for _ in range(3):
            with pytest.raises(EngineError):
                await llm.prefill(PROMPT, request=REQUEST)
        assert await said(llm) == "Second."
        await llm.prefill(PROMPT, request=REQUEST)
        assert len(server.chats) == 3
        assert len(other.chats) == 1
    assert reasons(tap) == ["open"]


async def test_one_that_reads_nothing_in_advance_proves_nothing(server: Server) -> None:
    server.scenes = [DOWN]
    async with both(server) as (llm, _, tap):
        for number in range(5):
            await llm.prefill(PROMPT, request=REQUEST)
            assert await said(llm, str(number)) == "Second."
    assert reasons(tap) == ["failed"] * 3 + ["open"] * 2


async def test_a_shortened_prompt_is_not_held_up_by_the_first_again(server: Server) -> None:
    server.scenes = [DOWN]
    async with both(server) as (llm, other, tap):
        other.scenes = [answer(400, {"error": {"code": "context_length_exceeded"}}), SECOND]
        with pytest.raises(ContextOverflow):
            await said(llm)
        assert await said(llm) == "Second."
    assert len(server.chats) == 1
    assert reasons(tap) == ["failed"]


async def test_a_first_that_is_not_there_prevents_nothing() -> None:
    async with running(Server()) as gone:
        pass
    async with both(gone) as (llm, _, tap):
        assert await said(llm) == "Second."
    assert reasons(tap) == ["failed"]


async def test_where_both_fail_the_caller_is_told(server: Server) -> None:
    server.scenes = [DOWN]
    async with both(server) as (llm, other, _):
        other.scenes = [answer(503, {})]
        with pytest.raises(EngineError, match="overloaded or still loading"):
            await said(llm)
