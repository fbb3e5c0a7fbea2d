"""What we send must satisfy the official client's types; what those can build, we must read."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai.types.realtime as rt
import pytest
from msgspec.structs import replace
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from tests import protocol
from voice.events import ToolCall, Usage
from voice.history import Item
from voice.realtime.response import Frames
from voice.realtime.server import ServerSide
from voice.realtime.shapes import new_id

DEFAULTS = replace(protocol.DEFAULTS, instructions="Be brief.")
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
SHOWN_SESSION = (".session.object", ".session.id", ".session.expires_at")
"""The official session events hold the type a client sends; the one a server sends is tested by itself."""
TOOL = {"type": "function", "name": "weather", "description": "", "parameters": {"type": "object", "properties": {}}}


def unexpected(value: Any, path: str = "") -> Iterator[str]:
    """Paths of fields the official types do not have."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unexpected(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from unexpected(inner, f"{path}[{place}]")


def everything(server: ServerSide) -> Frames:
    """Every event of the API that the server role can send."""
    spoken = Item("item_1", text="hello there", audio=True)
    update = server.receive(json.dumps({"type": "session.update", "session": {"tools": [TOOL]}}))
    frames = server.created() + server.update(update)  # type: ignore[arg-type]
    frames += server.speech_started("item_1", 0.5) + server.speech_stopped("item_1", 1.25)
    frames += server.committed("item_1", None) + server.cleared() + server.timeout_triggered("item_9", 1.0, 7.0)
    frames += server.item_added(Item("item_1", audio=True, pending=True), None) + server.item_done(spoken, None)
    frames += server.item_added(Item("item_2", "function_call_output", text="{}", call_id="call_1"), "item_1")
    frames += server.item_added(Item("item_3", role="system", text="hush"), "item_2")
    frames += server.item_retrieved(spoken, audio=bytes(4)) + server.item_deleted("item_1")
    frames += server.item_truncated("item_4", 0, 1500)
    frames += server.transcription_delta("item_1", "hello ") + server.transcription_completed("item_1", "hello", 1.5)
    frames += server.transcription_failed("item_1", "no model")
    frames += server.error("no", type="invalid_request_error", code="invalid_value", param="x", event_id="e1")
    for conversation in (True, False):
        for end in ("completed", "cancelled", "failed", "incomplete"):
            frames += answer(server, conversation, end)
    return frames


def answer(server: ServerSide, conversation: bool, end: Any) -> Frames:
    spoken = server.respond(new_id("resp"), new_id("item"), conversation=conversation, metadata={"a": "b"})
    frames = (
        spoken.created() + spoken.say("It is") + spoken.audio(np.arange(480, dtype=np.int16)) + spoken.say(" four.")
    )
    frames += spoken.tool_call(ToolCall("call_1", "weather", '{"at": 4}'), new_id("item"))
    reason = {"cancelled": "turn_detected", "incomplete": "max_output_tokens"}.get(end)
    fault = "the engine stopped" if end == "failed" else ""
    frames += spoken.done(end, reason=reason, usage=Usage(20, 8, 6), fault=fault)  # type: ignore[arg-type]
    written = server.respond(new_id("resp"), new_id("item"), modality="text", conversation=conversation)
    return frames + written.created() + written.text("Four.") + written.done(end, usage=Usage(20, 8, 6))


@pytest.mark.parametrize("media", [False, True])
@pytest.mark.parametrize("transcription", [False, True])
def test_every_event_we_send_satisfies_the_official_types(media: bool, transcription: bool) -> None:
    server = ServerSide(DEFAULTS, media=media, transcription=transcription)
    seen = set()
    for frame in everything(server):
        if isinstance(frame, bytes):
            assert media
            continue
        event = SERVER_EVENT.validate_json(frame)
        body = json.loads(frame)
        assert event.type == body["type"]
        assert not [path for path in unexpected(event) if path not in SHOWN_SESSION], frame
        assert set(type(event).model_fields) >= set(body)
        seen.add(event.type)
    expected = {"response.done", "session.updated", "error", "conversation.item.input_audio_transcription.failed"}
    expected |= {"output_audio_buffer.cleared"} if media else {"response.output_audio.delta"}
    assert seen >= expected


@pytest.mark.parametrize(
    ("transcription", "official"),
    [(False, rt.RealtimeSessionCreateResponse), (True, rt.RealtimeTranscriptionSessionCreateResponse)],
)
def test_a_session_is_shown_as_the_official_session(transcription: bool, official: type[BaseModel]) -> None:
    server = ServerSide(DEFAULTS, transcription=transcription)
    shown = json.loads(server.created()[0])["session"]
    session = official.model_validate_json(json.dumps(shown), strict=True)
    assert not list(unexpected(session))
    assert session.model_dump()["id"] == server.session_id
    assert session.model_dump()["expires_at"] == DEFAULTS.expires_at


@pytest.mark.parametrize(
    "event",
    [
        rt.SessionUpdateEvent(
            type="session.update",
            session=rt.RealtimeSessionCreateRequest.model_validate(
                {
                    "type": "realtime",
                    "model": "gpt-realtime",
                    "output_modalities": ["audio"],
                    "instructions": "Be kind.",
                    "tracing": "auto",
                    "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
                    "include": ["item.input_audio_transcription.logprobs"],
                    "parallel_tool_calls": True,
                    "reasoning": {"effort": "low"},
                    "prompt": {"id": "pmpt_1"},
                    "max_output_tokens": "inf",
                    "tools": [TOOL],
                    "tool_choice": {"type": "function", "name": "weather"},
                    "audio": {
                        "input": {
                            "format": {"type": "audio/pcm", "rate": 24000},
                            "noise_reduction": {"type": "near_field"},
                            "transcription": {"model": "whisper-1", "language": "en", "prompt": "x"},
                            "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
                        },
                        "output": {"format": {"type": "audio/pcmu"}, "voice": {"id": "alloy"}, "speed": 1.2},
                    },
                }
            ),
        ),
        rt.InputAudioBufferAppendEvent(type="input_audio_buffer.append", audio="AAA="),
        rt.InputAudioBufferCommitEvent(type="input_audio_buffer.commit", event_id="e"),
        rt.InputAudioBufferClearEvent(type="input_audio_buffer.clear"),
        rt.OutputAudioBufferClearEvent(type="output_audio_buffer.clear"),
        rt.ConversationItemRetrieveEvent(type="conversation.item.retrieve", item_id="i"),
        rt.ConversationItemDeleteEvent(type="conversation.item.delete", item_id="i"),
        rt.ConversationItemTruncateEvent(
            type="conversation.item.truncate", item_id="i", content_index=0, audio_end_ms=5
        ),
        rt.ResponseCancelEvent(type="response.cancel", response_id="r"),
        rt.ResponseCreateEvent(type="response.create"),
    ],
    ids=lambda event: event.type,
)
@pytest.mark.parametrize("nulls", [False, True])
def test_client_events_of_the_official_types_are_read(event: BaseModel, nulls: bool) -> None:
    server = ServerSide(DEFAULTS)
    read = server.receive(json.dumps(event.model_dump(mode="json", exclude_none=not nulls)))
    if isinstance(event, rt.SessionUpdateEvent):
        server.update(read)  # type: ignore[arg-type]
        assert server.session.voice == "alloy"
        assert server.session.speed == 1.2
        detection = server.session.turn_detection
        assert detection is not None
        assert detection.eagerness == "high"
