"""A session ends when its key has no minutes left: told, politely, and for certain."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from streams.link import memory_pair
from tests.session.flow import story
from tests.session.scripted import Call, ScriptedAsr, ScriptedLlm, ScriptedTts, ScriptedVad, echo
from tests.taps import Recorder
from voice.answering import Engines
from voice.config import Config, LimitsConfig, PlayoutConfig
from voice.events import Prompt
from voice.hosting import TICK, host
from voice.quota import Quota
from voice.realtime import server_events as ev
from voice.realtime.server import ServerSide
from voice.realtime.settings import SessionDefaults
from voice.session import Session

pytestmark = pytest.mark.anyio

ALLOWED = 6.0
PATIENCE = 10.0


@asynccontextmanager
async def metered(answer: Callable[[Prompt], str] = echo) -> AsyncIterator[Call]:
    """A call of a key that has six seconds left."""
    config = Config(limits=LimitsConfig(key_minutes=ALLOWED / 60), playout=PlayoutConfig(echo_guard=False))
    here, there = memory_pair(64)
    llm, asr, tts, tap = ScriptedLlm(answer), ScriptedAsr(), ScriptedTts(), Recorder()
    defaults = SessionDefaults(
        expires_at=0, voice="default", voices={"default": "default"}, languages=ScriptedAsr.languages
    )
    engines = Engines(ScriptedVad(), asr, llm, tts, None, lambda: 0.0)
    session = Session(there, ServerSide(defaults), engines, config, tap)
    caller = Call(here, session, llm, asr, tts, tap)
    with Quota(config.limits, tap).admit("abc123") as meter:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host, session, there, meter, PATIENCE)
            tasks.start_soon(caller.listen)
            await caller.changed.wait()
            yield caller
            await here.close(1000, "bye")
    assert (llm.active, asr.active, tts.active) == (0, 0, 0)


def told(caller: Call) -> list[tuple[float, str | None]]:
    return [(at, event.error.code) for at, event in caller.events if isinstance(event, ev.Error)]


def charged(caller: Call) -> float:
    return sum(amount for name, amount, _ in caller.tap.calls if name == "key_seconds_total")


async def test_a_silent_caller_is_told_and_let_go() -> None:
    async with metered() as caller:
        began = anyio.current_time()
        end = await caller.over()
        lasted = anyio.current_time() - began
    assert ALLOWED <= lasted <= ALLOWED + 2 * TICK
    assert [code for _, code in told(caller)] == ["rate_limit_exceeded"]
    assert charged(caller) == pytest.approx(lasted)
    assert end.startswith("connection closed with 1008: the 0.1 minutes that this key has a day are used up")


async def test_an_answer_under_way_may_end() -> None:
    async with metered(story(20)) as caller:  # five seconds, begun after three
        await caller.quiet(3.0)
        await caller.say("tell me a story")
        await caller.until(lambda: caller.ended)
        (reply,) = caller.seen.replies.values()
        assert reply.status == "completed"
        (at, _), *_ = told(caller)
        assert at < caller.times("response.done")[0]


async def test_an_answer_without_end_does_not_keep_the_line() -> None:
    async with metered(story(400)) as caller:
        await caller.say("tell me a story")
        began = anyio.current_time()
        await caller.until(lambda: caller.ended)
        assert anyio.current_time() - began <= ALLOWED + PATIENCE + 2 * TICK
        (reply,) = caller.seen.replies.values()
        assert reply.status == "in_progress"


async def test_a_caller_who_leaves_first_is_charged_to_the_end() -> None:
    async with metered() as caller:
        await caller.quiet(2.5)
    assert charged(caller) == pytest.approx(2.5, abs=0.05)
    assert told(caller) == []
