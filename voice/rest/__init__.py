"""Whole files over HTTP, in the shapes of OpenAI's audio API: a recording to words, a text to sound."""

import sys
from collections.abc import Collection
from functools import partial

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from voice.access import caller_of
from voice.chunker import Chunker
from voice.rest.answer import EVENTS, Answer, Fault, Job, Shared, bounded
from voice.rest.answer import failure as failure
from voice.rest.work import Listen, Speak, SpeechRequest

REQUESTS = 2
"""Files at a time; live callers need the machine."""
TRANSCRIPTS = ("json", "text", "srt", "verbose_json", "vtt")
DETAILS = ("segment", "word")
SOUNDS = {"mp3": "audio/mpeg", "opus": "audio/ogg", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm"}


def router(gateway: Shared) -> APIRouter:
    """The routes of OpenAI's audio API."""
    routes = APIRouter(prefix="/v1/audio")

    @routes.post("/transcriptions")
    async def transcriptions(request: Request) -> Response:
        """The words of a recording (multipart/form-data)."""
        return Answer(gateway, partial(_understand_upload, gateway, translate=False))

    @routes.post("/translations")
    async def translations(request: Request) -> Response:
        """The words of a recording in English (multipart/form-data)."""
        return Answer(gateway, partial(_understand_upload, gateway, translate=True))

    @routes.post("/speech")
    async def speech(request: Request) -> Response:
        """A text as sound (JSON)."""
        return Answer(gateway, partial(_understand_speech, gateway))

    return routes


async def _understand_upload(gateway: Shared, request: Request, *, translate: bool) -> Job:
    """The job that a form asks for. Raises Fault."""
    content, fields = await _form(request, gateway.config.limits.message_bytes)
    asked = dict(fields)
    if asked.get("model"):
        _choose("model", asked["model"], gateway.model_names())
    shape = _choose("response_format", asked.get("response_format", "json"), TRANSCRIPTS)
    details = [_choose(name, value, DETAILS) for name, value in fields if name == "timestamp_granularities[]"]
    languages = gateway.engines.asr.languages
    language = asked.get("language") or gateway.config.asr.language
    if language:
        _choose("language", language, languages)
    if translate and set(languages) <= {"en"}:
        name = gateway.config.asr.model
        raise Fault(400, "invalid_value", f"{name} knows English alone; set asr.model to a multilingual model")
    stream = _choose("stream", asked.get("stream", "false").lower(), ("true", "false")) == "true"
    kind = EVENTS if stream else "application/json" if "json" in shape else "text/plain; charset=utf-8"
    listening = Listen(
        gateway,
        caller_of(request.scope).owner,
        content,
        language,
        translate,
        shape,
        frozenset(details or DETAILS[:1]),
        stream,
    )
    return Job(kind, listening.run)


async def _understand_speech(gateway: Shared, request: Request) -> Job:
    """The job that a JSON body asks for. Raises Fault."""
    body = b"".join([chunk async for chunk in bounded(request, gateway.config.limits.message_bytes)])
    try:
        asked = msgspec.json.decode(body, type=SpeechRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(400, "invalid_value", f"the body is not as it should be: {error}") from error
    if asked.model:
        _choose("model", asked.model, gateway.model_names())
    _choose("response_format", asked.response_format, tuple(SOUNDS))
    _choose("stream_format", asked.stream_format, ("audio", "sse"))
    voices = gateway.voices()
    _choose("voice", asked.voice, voices)
    chunker = Chunker()
    clauses = chunker.push(asked.input) + chunker.finish()
    if not clauses:
        raise Fault(400, "invalid_value", "input: holds nothing that can be spoken; give it words")
    kind = EVENTS if asked.stream_format == "sse" else SOUNDS[asked.response_format]
    owner = caller_of(request.scope).owner
    return Job(kind, Speak(gateway, owner, asked, voices[asked.voice], clauses).run)


async def _form(request: Request, limit: int) -> tuple[bytes, list[tuple[str, str]]]:
    """The recording, and the other fields."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Fault(400, "invalid_body", "the body is no multipart/form-data; send a form with the recording as 'file'")
    try:
        form = await _InMemory(request.headers, bounded(request, limit), max_files=1, max_fields=64).parse()
    except MultiPartException as error:
        raise Fault(400, "invalid_body", f"the form cannot be read: {error.message}") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Fault(400, "missing_required_parameter", "file: missing; send the recording as a file of the form")
        return await file.read(), [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    finally:
        await form.close()


class _InMemory(MultiPartParser):
    """Keeps files in memory; the body is bounded."""

    spool_max_size = sys.maxsize


def _choose(name: str, value: str, known: Collection[str]) -> str:
    """The value. Raises Fault where it is not among those known."""
    if value not in known:
        code = "model_not_found" if name == "model" else "invalid_value"
        raise Fault(400, code, f"{name}: {value[:100]!r} is not known here; choose one of {', '.join(known)}")
    return value
