"""Files over HTTP: the official client, unaware of us, against the whole server."""

import base64
import dataclasses
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import numpy as np
import openai
import pytest
import soundfile
from openai import AsyncOpenAI

from streams.audio import Audio, read
from streams.lane import Lane
from tests.live import CONFIG, DATA, Live, Place, clip, said, word_errors
from voice.config import AuthConfig
from voice.files import transcribe
from voice.models import Store
from voice.rest import REQUESTS
from voice.service import open_engine

pytestmark = pytest.mark.anyio

CLIP = "lj-LJ001-0002.flac"
MISHEARD = 0.15
"""Word errors allowed in speech recognised back: no two renderings are the same."""
TEXT = (
    "The weather is nice today. We should take a long walk in the park. After lunch the children want to play with the "
    "dog, and in the evening we will all cook dinner together."
)


@asynccontextmanager
async def calling(place: Place, key: str = "any") -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{place.port}/v1", api_key=key, max_retries=0) as client:
        yield client


async def post(place: Place, path: str = "transcriptions", content: bytes | None = None, **fields: str) -> Any:
    """Send a form as it stands."""
    file = (DATA / CLIP).read_bytes() if content is None else content
    return await place.http.post(f"/v1/audio/{path}", data=fields, files={"file": ("x.flac", file)}, timeout=30)


async def errors_of_speech(live: Live, audio: Audio) -> float:
    words, _ = await transcribe(audio, live.engines.vad, live.engines.asr, CONFIG)
    return word_errors(TEXT, " ".join(word.text for word in words))


async def test_a_recording_becomes_words_in_every_shape(live: Live) -> None:
    async with live.serving() as place, calling(place) as client:
        ask = client.audio.transcriptions.create
        name, file = "jfk.flac", DATA / "jfk.flac"
        plain = await ask(model="whisper-1", file=file, language="en", prompt="Names", temperature=0)
        assert word_errors(said(name), plain.text) <= 0.1
        assert plain.usage.type == "duration"
        assert plain.usage.seconds == pytest.approx(clip(name).seconds, abs=0.01)
        full = await ask(
            model="whisper-1", file=file, response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
        assert full.text == plain.text == " ".join(word.word for word in full.words)
        assert full.language == "en"
        assert full.duration == plain.usage.seconds
        assert " ".join(segment.text for segment in full.segments) == plain.text
        assert 0 <= full.segments[0].start < full.segments[-1].end <= full.duration
        assert full.segments[0].avg_logprob < 0
        less = await ask(model="whisper-1", file=file, response_format="verbose_json")
        assert less.words is None
        assert less.segments == full.segments
        assert (await ask(model="whisper-1", file=file, response_format="text")).strip() == plain.text
        assert "-->" in await ask(model="whisper-1", file=file, response_format="srt")
        assert (await ask(model="whisper-1", file=file, response_format="vtt")).startswith("WEBVTT\n")
        events = [event async for event in await ask(model="gpt-4o-transcribe", file=file, stream=True)]
        assert [event.type for event in events[-2:]] == ["transcript.text.delta", "transcript.text.done"]
        assert "".join(event.delta for event in events[:-1]) == events[-1].text == plain.text


async def test_mistakes_are_named(live: Live) -> None:
    async with live.serving() as place:
        for answer, named in (
            (await post(place, model="hal-9000"), CONFIG.asr.model),
            (await post(place, response_format="diarized_json"), "json, text, srt, verbose_json, vtt"),
            (await post(place, language="tlh"), "choose one of en"),
            (await post(place, content=b"this is no sound"), "give WAV, FLAC, Ogg, Opus or MP3"),
            (await post(place, "translations"), "multilingual"),
            (await post(place, **{"timestamp_granularities[]": "hour"}), "segment, word"),
            (await place.http.post("/v1/audio/transcriptions", content=b"{}"), "multipart/form-data"),
            (await place.http.post("/v1/audio/transcriptions", files={"other": b"x"}), "file: missing"),
            (await place.http.post("/v1/audio/speech", json={}), "input"),
            (await place.http.post("/v1/audio/speech", json={"input": "x" * 4097}), "4096"),
            (await place.http.post("/v1/audio/speech", json={"input": "Hi.", "speed": 5}), "speed"),
            (await place.http.post("/v1/audio/speech", json={"input": "Hi.", "voice": "hal"}), "alloy"),
            (await place.http.post("/v1/audio/speech", json={"input": "..."}), "words"),
            (await place.http.post("/v1/audio/speech", json={"input": "Hi.", "response_format": "aac"}), "mp3, opus"),
            (await place.http.post("/v1/audio/speech", content=b"[" * 100_000), "body"),
        ):
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert named in answer.json()["error"]["message"]
        assert (await place.http.get("/v1/audio/speech")).status_code == 405
        assert place.gateway.files.sessions == 0


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's word on translations
async def test_a_model_of_many_languages_translates(live: Live, model_folder: Callable[[str], Path]) -> None:
    model_folder("whisper-base")
    config = msgspec.structs.replace(CONFIG, asr=msgspec.structs.replace(CONFIG.asr, model="whisper-base"))
    async with Lane("asr", 1, waiting=8) as lane, open_engine("asr", config, Store(config.models), lane) as asr:
        able = Live(dataclasses.replace(live.engines, asr=asr), live.metrics)
        async with able.serving(asr=config.asr) as place, calling(place) as client:
            file = DATA / "jfk.flac"
            full = await client.audio.translations.create(model="whisper-1", file=file, response_format="verbose_json")
            assert word_errors(said("jfk.flac"), full.text) <= 0.1
            assert full.language == "en"
            heard = await client.audio.transcriptions.create(model="whisper-1", file=file)
            assert word_errors(said("jfk.flac"), heard.text) <= 0.1


async def test_text_becomes_sound_in_every_format(live: Live) -> None:
    async with live.serving() as place, calling(place) as client:
        for shape in ("mp3", "opus", "flac", "wav", "pcm"):
            spoken = await client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format=shape)
            content = spoken.read()
            audio = Audio(np.frombuffer(content, np.int16), 24_000) if shape == "pcm" else read(io.BytesIO(content))
            assert audio.rate == 24_000, shape
            assert await errors_of_speech(live, audio) <= MISHEARD, shape
            if shape == "opus":
                assert soundfile.info(io.BytesIO(content)).subtype == "OPUS"
        fast = await client.audio.speech.create(
            model="tts-1", voice="alloy", input=TEXT, response_format="pcm", speed=2
        )
        assert len(fast.read()) < 0.75 * len(content)


async def test_sound_streams_as_it_is_made(live: Live) -> None:
    async with live.serving() as place, calling(place) as client:
        asked = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "pcm"}
        async with client.audio.speech.with_streaming_response.create(**asked) as spoken:
            pieces = [piece async for piece in spoken.http_response.aiter_raw()]
        assert len(pieces) > 1
        assert await errors_of_speech(live, Audio(np.frombuffer(b"".join(pieces), np.int16), 24_000)) <= MISHEARD
        async with client.audio.speech.with_streaming_response.create(**asked, stream_format="sse") as spoken:
            lines = [line async for line in spoken.iter_lines() if line]
        events = [json.loads(line.removeprefix("data: ")) for line in lines]
        assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
        sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
        assert await errors_of_speech(live, Audio(np.frombuffer(sound, np.int16), 24_000)) <= MISHEARD
        assert events[-1]["type"] == "speech.audio.done"
        assert events[-1]["usage"]["output_tokens"] == -(-len(sound) // 2400)


async def test_who_leaves_frees_the_place(live: Live) -> None:
    async with live.serving() as place:
        asked = {"input": "One two three four five six seven. " * 100, "response_format": "pcm"}
        async with place.http.stream("POST", "/v1/audio/speech", json=asked, timeout=30) as spoken:
            await anext(spoken.aiter_raw())
            assert place.gateway.files.sessions == 1
        with anyio.fail_after(30):
            await place.gateway.files.emptied(30)
        assert place.gateway.files.sessions == 0


async def test_too_large(live: Live) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(40):
            yield b"x" * 5_000

    limits = msgspec.structs.replace(CONFIG.limits, message_bytes=100_000)
    async with live.serving(limits=limits) as place:
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        for answer in (
            await post(place, content=b"x" * 200_000),
            await place.http.post("/v1/audio/transcriptions", content=endless(), headers=form),
            await place.http.post("/v1/audio/speech", content=endless()),
        ):
            assert answer.status_code == 413, answer.text
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert "100000 bytes" in answer.json()["error"]["message"]


async def test_too_many_and_too_late(live: Live) -> None:
    async with live.serving() as place, calling(place) as client:
        with place.gateway.files.admit("files"), place.gateway.files.admit("files"):
            assert REQUESTS == 2
            with pytest.raises(openai.RateLimitError) as refused:
                await client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)
            assert refused.value.response.headers["retry-after"] == "5"
            assert refused.value.code == "rate_limit_exceeded"
        place.gateway.files.drain()
        answer = await post(place)
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
        assert answer.headers["retry-after"] == "30"


async def test_keys_are_asked_for(live: Live) -> None:
    async with live.serving(auth=AuthConfig(keys=("sesame",))) as place:
        async with calling(place, "wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.audio.transcriptions.create(model="whisper-1", file=DATA / CLIP)
        async with calling(place, "sesame") as client:
            heard = await client.audio.transcriptions.create(model="whisper-1", file=DATA / CLIP)
            assert heard.text


async def test_a_caller_is_answered_in_the_meantime(live: Live) -> None:
    async with live.serving() as place, place.call() as caller, anyio.create_task_group() as tasks:
        asked = {"input": "One two three four five six seven. " * 100, "response_format": "flac"}

        async def file() -> None:
            await place.http.post("/v1/audio/speech", json=asked, timeout=60)

        tasks.start_soon(file)
        while not place.gateway.files.sessions:
            await anyio.lowlevel.checkpoint()
        await caller.speak(clip(CLIP), lambda: "response.done" in caller.types())
        assert caller.replies[0].text
        assert place.gateway.files.sessions == 1
        tasks.cancel_scope.cancel()
