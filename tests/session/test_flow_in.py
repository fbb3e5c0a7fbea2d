"""Flow control on the caller's side: however fast sound comes, little is read ahead of the recogniser, and every sample
is accounted for."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import anyio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.audio import Audio, Samples
from streams.link import LinkClosed
from streams.virtual import VirtualLoop
from tests.session.flow import FILTER, FRAME, SECOND, balanced, books, line_open_until, story, told
from tests.session.scripted import RATE, Call, call, sound_of
from voice.config import Config, LimitsConfig
from voice.listening import RATE as HEARD_RATE
from voice.listening import WAITING_FINALS

AHEAD = LimitsConfig().audio_ahead_seconds
COMPLETED = "conversation.item.input_audio_transcription.completed"


@asynccontextmanager
async def dictating(seconds: float) -> AsyncIterator[Call]:
    """A caller who is only written down, by a recogniser that takes so long a call."""
    config = Config(limits=LimitsConfig(utterance_seconds=3600))
    async with call(config=config, transcription=True) as caller:
        caller.asr.seconds = seconds
        yield caller


async def watch_ahead(caller: Call, found: list[float]) -> None:
    """Note every 10 ms how many seconds were read beyond what is recognised."""
    seen, received = 0, 0.0
    while True:
        for name, seconds, labels in caller.tap.calls[seen:]:
            if name == "audio_seconds_total" and labels["state"] == "received":
                received += seconds
        seen = len(caller.tap.calls)
        done = caller.asr.calls[: len(caller.asr.calls) - caller.asr.active]
        found.append(received - max([end for _, _, end in done], default=0.0))
        await anyio.sleep(0.01)


def heard(caller: Call) -> str:
    """All that was written down."""
    return " ".join(utterance.transcript or "" for utterance in caller.seen.utterances.values())


def in_events(count: int, sound: Samples) -> list[Samples]:
    return np.array_split(sound, count)


@pytest.mark.anyio
@pytest.mark.parametrize("events", [1, 500], ids=["one event", "500 events at once"])
async def test_ten_seconds_at_once_are_heard_as_in_real_time(events: int) -> None:
    sound = sound_of(told(40))
    async with dictating(0.08) as caller:
        found: list[float] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch_ahead, caller, found)
            for part in in_events(events, sound):
                await caller.send(caller.client.append(part))
            await line_open_until(caller, lambda: COMPLETED in caller.types())
            tasks.cancel_scope.cancel()
        assert heard(caller) == told(40)
    piece = SECOND if events == 1 else FRAME  # of a long event, a second at a time
    silence = 0.6  # at its end it is known to be one, and needs no recognition
    assert max(found) <= AHEAD + piece + silence
    balanced(caller.tap)


@pytest.mark.anyio
async def test_minutes_at_once_wait_for_a_recogniser_that_never_comes_to_an_end() -> None:
    async with dictating(10_000) as caller:
        await caller.send(caller.client.append(sound_of(told(480))))
        await anyio.sleep(60)
        assert books(caller.tap)["received"] <= (AHEAD + SECOND) * HEARD_RATE
    balanced(caller.tap)


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0.08, 1.5], ids=["fast engine", "slow engine"])
async def test_a_sender_fifty_times_as_fast_as_real_time_is_read_no_faster_than_it_is_recognised(
    seconds: float,
) -> None:
    minutes, found, sent = 3, list[float](), 0
    sound = sound_of(told(240 * minutes))
    async with dictating(seconds) as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(watch_ahead, caller, found)
        for frame in Audio(sound, RATE).frames(round(FRAME * RATE)):
            await caller.send(caller.client.append(frame.samples))
            sent += len(frame.samples)
            await anyio.sleep(FRAME / 50)
        assert max(found) <= AHEAD + FRAME + FILTER, "while there is speech"
        assert anyio.current_time() >= 60 * minutes / 50
        await line_open_until(caller, lambda: COMPLETED in caller.types())
        tasks.cancel_scope.cancel()
        assert heard(caller) == told(240 * minutes)
    balanced(caller.tap)


@pytest.mark.anyio
async def test_no_final_text_is_dropped_and_few_wait() -> None:
    count, waiting = 20, list[int]()
    says = [told(20).split()[n : n + 2] for n in range(count)]
    silence = np.zeros(RATE, np.int16)
    sound = np.concatenate([np.concatenate([sound_of(" ".join(said)), silence]) for said in says])
    async with dictating(1.2) as caller:
        for frame in Audio(sound, RATE).frames(round(FRAME * RATE)):
            await caller.send(caller.client.append(frame.samples))
            types = Counter(caller.types())
            waiting.append(types["input_audio_buffer.committed"] - types[COMPLETED])
        await line_open_until(caller, lambda: caller.types().count(COMPLETED) == count)
        assert heard(caller) == " ".join(" ".join(said) for said in says)
    assert WAITING_FINALS <= max(waiting) <= WAITING_FINALS + 1, "those that wait, and the one at work"
    assert not [labels for name, _, labels in caller.tap.calls if labels.get("state") == "dropped"]
    balanced(caller.tap)


@pytest.mark.anyio
async def test_a_busy_recogniser_has_one_look_to_take_and_takes_it_at_the_newest() -> None:
    """A slow engine decodes less often: nothing queues up."""
    active = 0
    async with dictating(0.9) as caller:
        for word in told(60).split():
            await caller.say(word)
            active = max(active, caller.asr.active)
        await line_open_until(caller, lambda: COMPLETED in caller.types())
        assert heard(caller) == told(60)
        spacing = [later - sooner for (_, _, sooner), (_, _, later) in pairwise(caller.asr.calls)]
    assert active == 1
    assert sum(step > 0.85 for step in spacing) > len(spacing) / 2, "what was overtaken is left out"


@given(
    st.floats(0, 6),
    st.sampled_from(["audio/pcm", "audio/pcmu"]),
    st.sampled_from(["server_vad", "manual"]),
    st.sampled_from([0.05, 0.5, 3.0]),
    st.sampled_from([FRAME, 0.0]),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_hang_up_in_mid_speech_at_any_moment_leaves_the_books_balanced(
    moment: float, kind: str, turns: str, seconds: float, each: float
) -> None:
    async def conversation() -> None:
        async with call(story(5)) as caller:
            caller.asr.seconds = seconds
            detection = None if turns == "manual" else {"type": turns}
            encoding = {"type": kind, "rate": 24_000} if kind == "audio/pcm" else {"type": kind}
            await caller.send(caller.client.update(audio={"input": {"turn_detection": detection, "format": encoding}}))
            rate = caller.client.input_format.rate
            sound = sound_of(f"{told(6)} {told(4)}", rate)
            quiet = np.zeros(rate, np.int16)
            sound = np.concatenate([quiet, sound, quiet, sound])[: round(moment * rate)]
            with suppress(LinkClosed), anyio.move_on_after(moment):
                for frame in Audio(sound, rate).frames(round(FRAME * rate)):
                    await caller.send(caller.client.append(frame.samples))
                    await anyio.sleep(each)
        balanced(caller.tap)

    anyio.run(conversation, backend_options={"loop_factory": VirtualLoop})
