"""Flow control on the way to the caller: no edge holds more than it may, what happens at the limit is what docs/flow.md
says, and nobody else notices."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import accumulate
from typing import Literal

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.audio import Audio
from streams.link import TRY_AGAIN_LATER, LinkClosed, SlowReader
from streams.virtual import VirtualLoop
from tests.session.flow import (
    CLAUSES,
    DELTAS,
    DONE,
    FRAME,
    SECOND,
    balanced,
    clauses,
    line_open_until,
    nothing_left,
    read,
    story,
    told,
    within_bounds,
)
from tests.session.scripted import GAP, LOUD, RATE, WORD, Call, call, sound_of, words_in
from voice.realtime import server_events as ev

# Slow readers -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def slow_reader(words: int, each: float = 0.06) -> AsyncIterator[Call]:
    """Takes a frame of 40 ms every 60 ms."""
    async with call(story(words), listens=False) as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(read, caller, each)
        yield caller
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("words", [80, 240], ids=["20 s", "60 s"])
async def test_a_reader_slower_than_real_time_gets_all_of_the_reply_and_is_heard_all_the_time(words: int) -> None:
    async with slow_reader(words) as caller:
        await caller.say("tell me a story")
        await line_open_until(caller, lambda: DONE in caller.types())
        assert caller.replies == [told(words)]
        assert [reply.status for reply in caller.seen.replies.values()] == ["completed"]
    within_bounds(caller.tap, max(clauses(words)) * (WORD + GAP))
    balanced(caller.tap)


@pytest.mark.anyio
async def test_a_slow_reader_may_interrupt() -> None:
    async with slow_reader(240) as caller:
        await caller.say("tell me a story")
        await line_open_until(caller, lambda: len(caller.times("response.output_audio.delta")) > 450)
        assert caller.llm.active, "it waits for the reader"
        caller.llm.answer = lambda prompt: "fine."
        await caller.say("tell me the time instead")
        await caller.quiet(1.5)
        assert not caller.llm.active
        await line_open_until(caller, lambda: caller.types().count(DONE) == 2)
        assert [reply.status for reply in caller.seen.replies.values()] == ["cancelled", "completed"]
        assert caller.replies[1] == "fine"


@pytest.mark.anyio
async def test_a_reader_that_stops_is_cut_off_after_two_seconds_without_progress() -> None:
    async with call(story(240), listens=False) as caller:
        with suppress(LinkClosed), anyio.CancelScope() as reading:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, caller, 0.0)
                await caller.say("tell me a story")
                await line_open_until(caller, lambda: caller.times("response.output_audio.delta"))
                reading.cancel()
        stopped = anyio.current_time()
        with suppress(LinkClosed):
            await line_open_until(caller, lambda: caller.ended)
        assert isinstance(caller.ended, SlowReader)
        assert caller.ended.code == TRY_AGAIN_LATER == 1013
        under_way = 64 * 0.04  # what fits into the link
        assert anyio.current_time() - stopped == pytest.approx(under_way + 2.0, abs=0.5)
        nothing_left(caller)
    within_bounds(caller.tap, max(clauses(240)) * (WORD + GAP))
    balanced(caller.tap)


# Slow and fast engines --------------------------------------------------------------------------------------


def gaps(caller: Call) -> list[int]:
    """How many words sounded before each gap in the only reply, as a listener plays it who plays what there is."""
    [reply] = caller.seen.replies.values()
    sound = reply.audio
    position, late_by, found = 0, None, []
    for at, event in caller.events:
        if isinstance(event, ev.AudioDelta):
            late = at - (at if late_by is None else late_by) - position / RATE
            if late_by is None:
                late_by = at
            elif late > 1e-6:
                late_by += late
                before, after = sound.samples[position - 1], sound.samples[position]
                assert before != after or abs(before) <= LOUD, "a gap in the middle of a word"
                found.append(len(words_in(Audio(sound.samples[:position], RATE))))
            position += len(event.delta) // 2
    return found


@pytest.mark.anyio
@pytest.mark.parametrize("slow", ["llm", "tts"])
async def test_engines_slower_than_speech_leave_gaps_at_clause_ends_only(slow: Literal["llm", "tts"]) -> None:
    async with call(story(80)) as caller:
        if slow == "llm":
            caller.llm.each = 0.8
        else:
            caller.tts.seconds, caller.tts.each = 0.0, 1.5
        await caller.say("tell me a story")
        await line_open_until(caller, lambda: DONE in caller.types())
        assert caller.replies == [told(80)]
        found = gaps(caller)
        assert len(found) >= 4, "it was indeed too slow"
        assert set(found) <= set(accumulate(clauses(80)))
        [gap] = [value for name, value, _ in caller.tap.calls if name == "playout_gap_seconds"]
        assert gap > 1
    within_bounds(caller.tap, max(clauses(80)) * (WORD + GAP))


@pytest.mark.anyio
async def test_engines_far_faster_than_speech_work_a_little_ahead_and_wait() -> None:
    words, text_ahead, sound_ahead = 160, list[float](), list[float]()
    async with call(story(words)) as caller:
        caller.llm.each = caller.tts.seconds = 0.0
        await caller.say("tell me a story")
        while DONE not in caller.types():
            await caller.quiet(FRAME)
            spoken = sum(len(clause.split()) for clause in caller.tts.spoken)
            sent = sum(len(event.delta) for _, event in caller.events if isinstance(event, ev.AudioDelta)) / 2 / RATE
            text_ahead.append(caller.llm.given - spoken)
            sound_ahead.append(spoken * (WORD + GAP) - sent)
        assert caller.replies == [told(words)]
        assert gaps(caller) == []
    longest = max(clauses(words))
    assert max(text_ahead) <= DELTAS + 1 + longest * (CLAUSES + 2), "on the edges, and in hand between them"
    assert max(sound_ahead) <= 3 * longest * (WORD + GAP), "a clause that sounds, one on the edge, one in hand"
    within_bounds(caller.tap, longest * (WORD + GAP))


@asynccontextmanager
async def kept_back() -> AsyncIterator[Call]:
    """A reply that was begun, and is not let out for five seconds."""
    async with call(story(160)) as caller:
        detection = {"type": "server_vad", "silence_duration_ms": 5000}
        await caller.send(caller.client.update(audio={"input": {"turn_detection": detection}}))
        caller.llm.each = caller.tts.seconds = 0.0
        await caller.say("tell me a story")
        await caller.quiet(4.75)
        assert caller.llm.prompts
        assert "response.created" not in caller.types()
        yield caller


@pytest.mark.anyio
async def test_a_reply_that_is_not_let_out_costs_little() -> None:
    async with kept_back() as caller:
        made = [len(clause.split()) * (WORD + GAP) for clause in caller.tts.spoken]
        assert sum(made[:-1]) <= SECOND, "a clause is begun only while there is less than a second"
        longest = max(clauses(160))
        assert caller.llm.given <= DELTAS + 1 + longest * (CLAUSES + 2) + sum(made) / (WORD + GAP)
        await line_open_until(caller, lambda: DONE in caller.types())
        assert caller.replies == [told(160)], "all of it comes once it is let out"


@pytest.mark.anyio
async def test_a_reply_that_is_taken_back_leaves_nothing() -> None:
    async with kept_back() as caller:
        caller.llm.answer = lambda prompt: "fine."
        await caller.say("and tell me the time")
        await line_open_until(caller, lambda: DONE in caller.types())
        assert caller.replies == ["fine"]
        nothing_left(caller)


# Interruptions and hang-ups ---------------------------------------------------------------------------------


@given(st.floats(0, 8), st.sampled_from(["voice", "cancel", "hang up"]), st.sampled_from([0.0, 0.02, 0.3]))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_after_an_interruption_at_any_moment_all_edges_are_empty(moment: float, how: str, each: float) -> None:
    async def conversation() -> None:
        async with call(story(160)) as caller:
            caller.llm.each = each
            await caller.say("tell me a story")
            await caller.quiet(moment)
            caller.llm.answer = lambda prompt: "fine."
            if how == "voice":
                await caller.say("tell me the time instead")
                await line_open_until(caller, lambda: DONE in caller.types()[-1:] and "fine" in caller.replies)
            elif how == "cancel":
                await caller.quiet(1.0)  # it has begun for sure
                await caller.send(caller.client.cancel())
                await caller.quiet(0.5)
            if how != "hang up":
                assert (caller.llm.active, caller.tts.active) == (0, 0)
                nothing_left(caller)
        nothing_left(caller)
        within_bounds(caller.tap, max(clauses(160)) * (WORD + GAP))
        balanced(caller.tap)

    anyio.run(conversation, backend_options={"loop_factory": VirtualLoop})


# Nobody else ------------------------------------------------------------------------------------------------


async def stalled(caller: Call) -> None:
    with suppress(LinkClosed):
        await caller.say("tell me a story")
        await line_open_until(caller, lambda: caller.ended)


async def slow(caller: Call) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, caller, 0.06)
        await caller.say("tell me a story")
        await line_open_until(caller, lambda: False)


async def bursting(caller: Call) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, caller, 0.0)
        while True:
            await caller.send(caller.client.append(sound_of(told(200))))
            await anyio.sleep(1.0)


async def racing(caller: Call) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, caller, 0.0)
        while True:
            await caller.send(caller.client.append(sound_of("word1")))
            await anyio.sleep((WORD + GAP) / 50)


def conversation_beside(neighbour: Callable[[Call], Coroutine[None, None, None]] | None) -> list[tuple[float, str]]:
    """What a caller sees of two turns, and when."""

    async def turns() -> list[tuple[float, str]]:
        async with call() as caller, call(story(240), listens=False) as other, anyio.create_task_group() as tasks:
            if neighbour:
                tasks.start_soon(neighbour, other)
            for turn in range(2):
                await caller.say("what is the time in the town today")
                await caller.until(lambda turn=turn: caller.types().count(DONE) > turn)  # type: ignore[misc]
                await caller.quiet(2.0)
            tasks.cancel_scope.cancel()
        balanced(other.tap)
        return [(round(at, 3), name) for (at, _), name in zip(caller.events, caller.types(), strict=True)]

    return anyio.run(turns, backend_options={"loop_factory": VirtualLoop})


@pytest.mark.parametrize("neighbour", [stalled, slow, bursting, racing])
def test_another_caller_notices_nothing(neighbour: Callable[[Call], Coroutine[None, None, None]]) -> None:
    assert conversation_beside(neighbour) == conversation_beside(None)
