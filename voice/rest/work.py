"""A recording to words, a text to sound: the work behind a request."""

import base64
import io
import math
import struct
import zlib
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import msgspec
import numpy as np

from streams.audio import Audio, Resampler, Samples, join, read, resample, write
from streams.lane import Lane
from voice.events import Hypothesis, Priority
from voice.files import RATE, cut, recognise, spoken
from voice.realtime.shapes import new_id
from voice.rest.answer import Emit, Fault, Shared, event
from voice.subtitles import Format, cues, render

CHUNK = 24 * 1024
"""Bytes sent at a time; divisible by 3 for base64."""
SPEECH_RATE = 24_000
FILES: dict[str, Format] = {"text": "txt", "srt": "srt", "vtt": "vtt"}
TOKEN_SECONDS = 0.05
"""Sound that counts as one token, as in a conversation."""
_WAV = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, SPEECH_RATE, 2 * SPEECH_RATE, 2, 16,
    b"data", 0xFFFFFFFF,
)  # fmt: skip
"""Header of a WAV stream whose length is not known yet."""


class SpeechRequest(msgspec.Struct):
    """Body of a request for speech; fields not named here are ignored."""

    input: Annotated[str, msgspec.Meta(max_length=4096)]
    model: str = ""
    voice: str = "default"
    response_format: str = "mp3"
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4)] = 1.0
    stream_format: str = "audio"


@dataclass(frozen=True, slots=True)
class Listen:
    """A recording to be recognised, and how to write down what was said."""

    gateway: Shared
    owner: str
    content: bytes
    language: str
    translate: bool
    shape: str
    details: frozenset[str]
    stream: bool

    async def run(self, emit: Emit) -> None:
        """Raises Fault, EngineError, and OverLimit where the key has not so many minutes."""
        session, engines = new_id("file"), self.gateway.engines
        async with Lane("files", 1, waiting=1) as lane:
            parts, seconds = await lane.run(self._parts, priority=Priority.BATCH, session=session)
        self.gateway.quota.check_files(self.owner, seconds)
        self.gateway.quota.charge(self.owner, "files", seconds)
        found: list[Hypothesis] = []
        said = ""
        hypotheses = recognise(parts, engines.asr, language=self.language, session=session, translate=self.translate)
        async with aclosing(hypotheses):
            async for heard in hypotheses:
                found.append(heard)
                delta = " " * bool(said and heard.text) + heard.text
                said += delta
                if self.stream and delta:
                    await emit(event({"type": "transcript.text.delta", "delta": delta}))
        usage = {"type": "duration", "seconds": round(seconds, 3)}
        if self.stream:
            await emit(event({"type": "transcript.text.done", "text": said, "usage": usage}))
        elif self.shape == "json":
            await emit(msgspec.json.encode({"text": said, "usage": usage}))
        elif self.shape == "verbose_json":
            await emit(msgspec.json.encode(self._verbose(found, said, seconds) | {"usage": usage}))
        else:
            words = [word for heard in found for word in heard.words]
            kind = FILES[self.shape]
            await emit(render(words, kind, language=spoken(found, self.language), seconds=seconds).encode())

    def _parts(self) -> tuple[list[Audio], float]:
        """Passages of speech, and the seconds of the whole; computes."""
        try:
            audio = read(io.BytesIO(self.content), self.gateway.config.limits.file_seconds)
        except ValueError as error:
            raise Fault(400, "invalid_value", f"file: {error}") from error
        return cut(resample(audio, RATE), self.gateway.engines.vad, self.gateway.config.vad), audio.seconds

    def _verbose(self, found: list[Hypothesis], said: str, seconds: float) -> dict[str, object]:
        result: dict[str, object] = {
            "task": "translate" if self.translate else "transcribe",
            "language": spoken(found, self.language),
            "duration": round(seconds, 3),
            "text": said,
        }
        if "segment" in self.details:
            segments = [(cue, heard) for heard in found for cue in cues(heard.words)]
            result["segments"] = [
                {
                    "id": number,
                    "seek": 0,
                    "start": round(cue.start, 3),
                    "end": round(cue.end, 3),
                    "text": cue.text,
                    "tokens": [],
                    "temperature": 0.0,
                    "avg_logprob": heard.logprob,
                    "compression_ratio": len(cue.text.encode()) / len(zlib.compress(cue.text.encode())),
                    "no_speech_prob": heard.no_speech,
                }
                for number, (cue, heard) in enumerate(segments)
            ]
        if "word" in self.details:
            words = [word for heard in found for word in heard.words]
            result["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in words]
        return result


@dataclass(frozen=True, slots=True)
class Speak:
    """A text to be spoken."""

    gateway: Shared
    owner: str
    asked: SpeechRequest
    voice: str
    clauses: list[str]

    async def run(self, emit: Emit) -> None:
        """PCM and WAV leave piece by piece, the other formats once all is spoken. Raises EngineError."""
        session, tts = new_id("speech"), self.gateway.engines.tts
        speed = self.asked.speed * self.gateway.config.tts.speed
        resampler, shape = Resampler(tts.rate, SPEECH_RATE), self.asked.response_format
        sounds: list[Audio] = []
        async with Lane("files", 1, waiting=1) as lane:
            convert = partial(lane.run, priority=Priority.BATCH, session=session)

            async def sound(samples: Samples, *, last: bool = False) -> None:
                piece = await convert(partial(resampler.push, samples, last))
                header = _WAV if shape == "wav" and not sounds else b""
                sounds.append(piece)
                if shape in ("wav", "pcm"):
                    await self._emit(emit, header + piece.samples.tobytes())

            for clause in self.clauses:
                stream = tts.stream(clause, voice=self.voice, speed=speed, priority=Priority.BATCH, session=session)
                async with stream as pieces:
                    async for speech in pieces:
                        await sound(speech.audio.samples)
            await sound(np.empty(0, np.int16), last=True)
            whole = join(sounds)
            self.gateway.quota.charge(self.owner, "files", whole.seconds)
            if shape not in ("wav", "pcm"):
                await self._emit(emit, await convert(partial(_encoded, whole, shape)))
        if self.asked.stream_format == "sse":
            spent, made = len(self.asked.input.split()), math.ceil(whole.seconds / TOKEN_SECONDS)
            usage = {"input_tokens": spent, "output_tokens": made, "total_tokens": spent + made}
            await emit(event({"type": "speech.audio.done", "usage": usage}))

    async def _emit(self, emit: Emit, data: bytes) -> None:
        for first in range(0, len(data), CHUNK):
            chunk = data[first : first + CHUNK]
            if self.asked.stream_format == "sse":
                chunk = event({"type": "speech.audio.delta", "audio": base64.b64encode(chunk).decode()})
            await emit(chunk)


def _encoded(audio: Audio, shape: str) -> bytes:
    file = io.BytesIO()
    write(file, audio, shape.upper())
    return file.getvalue()
