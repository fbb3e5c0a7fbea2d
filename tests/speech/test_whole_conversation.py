"""A recorded human calls, real models answer, and what comes back is listened to."""

from typing import Any

import pytest

from streams.audio import Audio, join, resample, silence
from tests.live import Caller, Live, clip, said, word_errors
from voice.events import Priority
from voice.realtime import server_events as ev
from voice.realtime.conversation import Reply

pytestmark = pytest.mark.anyio

WRITTEN_DOWN = {"model": "whisper-1"}


async def converse(live: Live, caller: Caller, name: str) -> Reply:
    """Say a recorded sentence in real time, and listen to the whole answer; both must be right."""
    await caller.speak(clip(name), lambda: caller.replies and caller.replies[-1].status != "in_progress")
    assert not caller.seen.errors
    assert len(caller.replies) == 1
    heard = [utterance.transcript or "" for utterance in caller.seen.utterances.values()]
    assert word_errors(said(name), " ".join(heard)) < 0.15, heard
    reply = caller.replies[-1]
    assert reply.status in ("completed", "incomplete")
    assert reply.text.strip()
    recognised = await live.engines.asr.transcribe(
        resample(reply.audio, 16_000), priority=Priority.FINAL, session="listener"
    )
    assert word_errors(reply.text, recognised.text) < 0.25, (reply.text, recognised.text)
    return reply


async def test_a_spoken_question_gets_a_spoken_answer(live: Live) -> None:
    async with live.serving() as place, place.call() as caller:
        await caller.update(audio={"input": {"transcription": WRITTEN_DOWN}})
        reply = await converse(live, caller, "lj-LJ001-0004.flac")
    assert reply.audio.rate == 24_000
    wanted = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.done",
    ]
    first = [caller.types().index(name) for name in wanted]
    assert first == sorted(first)


async def test_by_telephone(live: Live) -> None:
    async with live.serving() as place, place.call() as caller:
        line: dict[str, Any] = {"format": {"type": "audio/pcmu"}}
        await caller.update(audio={"input": {**line, "transcription": WRITTEN_DOWN}, "output": line})
        reply = await converse(live, caller, "lj-LJ001-0004.flac")
    assert reply.audio.rate == 8000


async def test_in_binary_frames_with_extensions(live: Live) -> None:
    async with live.serving() as place, place.call(binary=True) as caller:
        await caller.update(audio={"input": {"transcription": WRITTEN_DOWN}})
        await converse(live, caller, "lj-LJ002-0035.flac")
    assert caller.line.subprotocol == "rejoinder.v1"
    assert "rejoinder.transcript.tentative" in caller.types()
    assert "rejoinder.turn.timeline" in caller.types()


async def test_a_second_turn_and_what_was_said_before(live: Live) -> None:
    """The caller cuts in, is heard, and the conversation holds both turns in order."""
    async with live.serving() as place, place.call() as caller:
        await caller.update(audio={"input": {"transcription": WRITTEN_DOWN}})
        await caller.send(caller.client.create_item("Tell me a long story about the sea."), caller.client.respond())
        await caller.until(lambda: "response.output_audio.delta" in caller.types())
        await caller.speak(clip("lj-LJ001-0002.flac"), lambda: len(caller.replies) > 1)
        assert caller.replies[0].status == "cancelled"
        assert caller.replies[0].reason == "turn_detected"
        (cut,) = caller.replies[0].items
        await caller.until(lambda: caller.replies[-1].status != "in_progress")
        await caller.send(caller.client.retrieve(cut))
        await caller.until(lambda: any(isinstance(event, ev.ItemRetrieved) for event in caller.events))
    committed = [event for event in caller.events if isinstance(event, ev.Committed)]
    assert [event.previous_item_id for event in committed] == [cut]


@pytest.mark.parametrize("name", ["nothing", "esc-rain-1-17367-A.ogg", "esc-clock_tick-1-35687-A.ogg"])
async def test_nothing_is_said_to_noise(live: Live, name: str) -> None:
    sound = silence(5.0, 24_000) if name == "nothing" else clip(name)
    twenty = join([sound] * 5).span(0, 20 * 24_000)
    async with live.serving() as place, place.call() as caller:
        await caller.update(audio={"input": {"transcription": WRITTEN_DOWN}})
        await caller.play(Audio(twenty.samples, twenty.rate), speed=10)
        await caller.ask("Hello", output_modalities=["text"])
        written = [utterance.transcript for utterance in caller.seen.utterances.values() if utterance.transcript]
        assert not written
        assert [reply.format for reply in caller.replies] == [caller.replies[0].format]
        assert not any("output_audio" in kind for kind in caller.types())
