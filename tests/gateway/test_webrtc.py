"""Calls over WebRTC with real models: heard right, answered aloud, interrupted, hung up, refused."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

from loadtest.caller import AUDIBLE
from loadtest.webrtc_caller import Line, calling, over_http, vanish
from streams.audio import Audio, resample
from streams.opus import RATE
from tests.gateway.test_webrtc_link import OFFER, WHOLE
from tests.live import CONFIG, Live, Place, clip, said, word_errors
from voice.config import AuthConfig, LimitsConfig, WebRtcConfig
from voice.events import Priority
from voice.realtime import server_events as ev

pytestmark = pytest.mark.anyio

CALLS = "/v1/realtime/calls"
SAYS = "Please say the following words. The quick brown fox jumps over the lazy dog near the river bank."


@asynccontextmanager
async def call(place: Place, query: str = "extensions=1", **how: Any) -> AsyncIterator[Line]:
    async with calling(over_http(f"http://127.0.0.1:{place.port}", query), **how) as line:
        assert await line.until(lambda: "session.created" in line.types())
        yield line


async def emptied(place: Place) -> None:
    """Everybody has left."""
    with anyio.fail_after(20):
        while place.gateway.sessions or len(place.gateway.calls) or place.gateway.admission.sessions:
            await anyio.lowlevel.checkpoint()


def transcript(line: Line) -> str:
    return " ".join(event.transcript for _, event in line.events if isinstance(event, ev.TranscriptionCompleted))


def before(line: Line, *names: str) -> bool:
    """Whether the first of each came in this order."""
    places = [line.types().index(name) for name in names]
    return places == sorted(places)


async def recognised(live: Live, line: Line, since: float = 0.0) -> str:
    sound = np.concatenate([samples for at, samples in line.heard if at >= since])
    audio = resample(Audio(sound, RATE), 16_000)
    return (await live.engines.asr.transcribe(audio, priority=Priority.FINAL, session="listener")).text


async def test_what_is_said_is_heard_and_the_answer_is(live: Live) -> None:
    async with live.serving() as place, call(place) as line:
        line.send(line.client.update(audio={"input": {"transcription": {"model": "whisper-1"}}}))
        await line.until(lambda: "session.updated" in line.types())
        line.microphone.say(clip("lj-LJ001-0004.flac").samples)
        assert await line.until(lambda: "output_audio_buffer.stopped" in line.types(), 60)
        assert word_errors(said("lj-LJ001-0004.flac"), transcript(line)) < 0.15
        (done,) = [event for _, event in line.events if isinstance(event, ev.ResponseDone)]
        spoken = "".join(event.delta for _, event in line.events if isinstance(event, ev.TranscriptDelta))
        assert done.response.status in ("completed", "incomplete")  # so few tokens may be too few
        assert word_errors(spoken, await recognised(live, line)) < 0.3
        assert before(
            line,
            "session.created",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.committed",
            "response.created",
            "response.content_part.added",
            "output_audio_buffer.started",
            "response.done",
            "output_audio_buffer.stopped",
        )
        assert "response.output_audio.delta" not in line.types()
        assert not [event for _, event in line.events if isinstance(event, ev.Error | ev.AudioGap)]


@pytest.mark.parametrize("how", ["clear", "cancel"])
async def test_an_answer_that_is_cut_is_silent_at_once(live: Live, how: str) -> None:
    async with live.serving() as place, call(place) as line:
        words = SAYS.split(". ")[1]
        line.send(line.client.respond(input=[], instructions=f"Repeat: {words}", max_output_tokens=100))
        assert await line.until(lambda: loudest(line, 0.2) > AUDIBLE, 30)
        line.send('{"type":"output_audio_buffer.clear"}' if how == "clear" else line.client.cancel())
        assert await line.until(lambda: "response.done" in line.types())
        at = next(at for at, event in line.events if isinstance(event, ev.ResponseDone))
        assert before(line, "output_audio_buffer.started", "output_audio_buffer.cleared", "response.done")
        assert "output_audio_buffer.stopped" not in line.types()
        await line.until(lambda: line.heard[-1][0] > at + 0.6)
        late = np.concatenate([samples for moment, samples in line.heard if moment > at + 0.3])
        assert np.abs(late).max() <= AUDIBLE
        line.send('{"type":"output_audio_buffer.clear"}')  # nothing sounds any more: nothing to say about it
        line.send(line.client.update(instructions="Be brief."))
        assert await line.until(lambda: "session.updated" in line.types())
        assert not [event for _, event in line.events if isinstance(event, ev.Error)]


async def test_a_voice_over_an_answer_silences_it(live: Live) -> None:
    llm = msgspec.structs.replace(CONFIG.llm, max_tokens=400)
    async with live.serving(llm=llm) as place, call(place) as line:
        story = "Tell a long story about the sea, of many sentences."
        line.send(line.client.respond(input=[], instructions=story, max_output_tokens=400))
        assert await line.until(lambda: loudest(line, 0.2) > AUDIBLE, 30)
        line.microphone.say(clip("jfk.flac").samples[: 4 * RATE])
        assert await line.until(lambda: "output_audio_buffer.cleared" in line.types(), 20)
        assert await line.until(lambda: "response.done" in line.types())
        at = next(at for at, event in line.events if isinstance(event, ev.OutputCleared))
        (done,) = [event for _, event in line.events if isinstance(event, ev.ResponseDone)]
        assert done.response.status == "cancelled"
        assert before(line, "input_audio_buffer.speech_started", "output_audio_buffer.cleared", "response.done")
        await line.until(lambda: line.heard[-1][0] > at + 0.5)
        again = min(
            (when for when, event in line.events if isinstance(event, ev.OutputStarted) and when > at), default=at + 1
        )
        late = [samples for moment, samples in line.heard if at + 0.25 < moment < min(at + 0.5, again)]
        assert np.abs(np.concatenate([[0], *late])).max() <= AUDIBLE


def loudest(line: Line, seconds: float) -> int:
    return int(np.abs(line.sound[-round(seconds * RATE) :].astype(np.int32)).max(initial=0))


async def test_the_session_may_come_with_the_offer(live: Live) -> None:
    async with live.serving() as place:

        async def exchange(offer: str) -> tuple[str, str]:
            session = {"type": "realtime", "instructions": "Whisper.", "audio": {"output": {"voice": "alloy"}}}
            form = {"sdp": (None, offer), "session": (None, json.dumps(session))}
            response = await place.http.post(CALLS, files=form)
            assert response.status_code == 201
            assert response.headers["content-type"] == "application/sdp"
            return response.text, response.headers["location"]

        async with calling(exchange) as line:
            await line.until(lambda: line.events)
            (_, created), *_ = line.events
            assert isinstance(created, ev.Created)
            assert created.session.instructions == "Whisper."
            again = await place.http.delete(f"{CALLS}/nobody")
            assert again.status_code == 404
            assert (await place.http.delete(line.place)).status_code == 204
            assert await line.until(lambda: line.closed or line.connection.connectionState == "closed", 5)
            await emptied(place)
        async with call(place, "intent=transcription") as line:
            assert line.events[0][1].session.type == "transcription"  # type: ignore[union-attr]
            assert (await place.http.post(f"{line.place}/hangup")).status_code == 200
        await emptied(place)


async def test_callers_leave_in_every_way(live: Live) -> None:
    webrtc, limits = WebRtcConfig(lost_seconds=1.0, setup_seconds=1.0), LimitsConfig(sessions=3)
    async with live.serving(webrtc=webrtc, limits=limits) as place:
        async with call(place):
            pass
        async with call(place) as line:
            line.channel.close()
            await emptied(place)
        async with call(place) as line:
            vanish(line)
            await emptied(place)
        answer = await place.http.post(
            CALLS, content=OFFER + "".join(WHOLE), headers={"content-type": "application/sdp"}
        )
        assert answer.status_code == 201  # but nobody ever comes
        assert len(place.gateway.calls) == 1
        await emptied(place)


async def test_a_call_ends_with_the_server(live: Live) -> None:
    async with live.serving() as place, call(place) as line:
        place.server.should_exit = True
        assert await line.until(lambda: line.closed or line.connection.connectionState == "closed", 10)
        (error,) = [event for _, event in line.events if isinstance(event, ev.Error)]
        assert "connect again" in error.error.message


async def test_offers_that_are_refused(live: Live) -> None:
    whole, sdp = OFFER + "".join(WHOLE), {"content-type": "application/sdp"}
    auth, limits = AuthConfig(keys=("secret",)), LimitsConfig(sessions=1)
    async with live.serving(auth=auth, limits=limits) as place:

        async def refused(status: int, content: str | bytes, kind: str = "application/sdp", query: str = "") -> Any:
            headers = {"content-type": kind, "authorization": "Bearer secret"}
            response = await place.http.post(f"{CALLS}{query}", content=content, headers=headers)
            assert response.status_code == status, response.text
            return response.json()["error"]

        assert (await place.http.post(CALLS, content=whole, headers=sdp)).status_code == 401
        assert (await refused(400, "hello"))["param"] == "sdp"
        assert "no audio" in (await refused(400, OFFER + WHOLE[1]))["message"]
        assert (await refused(413, "v=0" + 300_000 * "x"))["code"] == "too_large"
        assert (await refused(400, b"\xff\xff"))["code"] == "invalid_value"
        assert (await refused(415, whole, "text/plain"))["code"] == "invalid_body"
        assert (await refused(400, whole, query="?model=nobody"))["code"] == "model_not_found"
        form = {"sdp": (None, whole), "session": (None, '{"type":"realtime","audio":{"output":{"voice":"nobody"}}}')}
        headers = {"authorization": "Bearer secret"}
        answer = await place.http.post(CALLS, files=form, headers=headers)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "session.audio.output.voice")
        answer = await place.http.post(CALLS, files={"session": (None, "{}")}, headers=headers)
        assert "sdp" in answer.json()["error"]["message"]
        assert not len(place.gateway.calls)
        first = await place.http.post(CALLS, content=whole, headers=sdp | headers)
        assert first.status_code == 201
        full = await place.http.post(CALLS, content=whole, headers=sdp | headers)
        assert (full.status_code, full.headers["retry-after"]) == (503, "5")
        assert (await place.http.delete(first.headers["location"], headers=headers)).status_code == 204
        await emptied(place)


async def test_a_typed_question_over_a_lossy_line(live: Live) -> None:
    llm = msgspec.structs.replace(CONFIG.llm, max_tokens=60)
    async with live.serving(llm=llm) as place, call(place, loss=0.05) as line:
        line.send(line.client.update(audio={"input": {"transcription": {"model": "whisper-1"}}}))
        line.microphone.say(clip("lj-LJ002-0035.flac").samples)
        assert await line.until(lambda: "output_audio_buffer.stopped" in line.types(), 60)
        assert word_errors(said("lj-LJ002-0035.flac"), transcript(line)) < 0.3
        spoken = "".join(event.delta for _, event in line.events if isinstance(event, ev.TranscriptDelta))
        assert word_errors(spoken, await recognised(live, line)) < 0.5
