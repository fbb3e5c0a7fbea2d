"""The server role as tests begin it, what it makes of frames, and what its own say."""

import json
from typing import Any

import pytest

from voice.realtime import client_events as ce
from voice.realtime.refused import Invalid
from voice.realtime.response import Frames
from voice.realtime.server import ServerSide
from voice.realtime.settings import SessionDefaults

DEFAULTS = SessionDefaults(
    expires_at=1_800_000_000,
    models=("rejoinder", "gpt-realtime"),
    voice="joe",
    voices={"joe": "en_US-joe-medium", "alloy": "en_US-joe-medium"},
    transcription_models=("rejoinder", "whisper-1"),
    languages=("en", "de"),
)
READ_AS: dict[str, type] = {
    **ce.WIRE_EVENTS,
    "transcription_session.update": ce.SessionUpdate,
    "conversation.item.create": ce.AddItem,
    "response.create": ce.Respond,
}
"""What an event of that name is, once read."""


def kinds(frames: Frames) -> list[str]:
    return [json.loads(frame)["type"] if isinstance(frame, str) else "binary" for frame in frames]


def last(frames: Frames) -> Any:
    return json.loads(frames[-1])


def refuse(server: ServerSide, event: Any) -> dict[str, Any]:
    with pytest.raises(Invalid) as caught:
        server.receive(event if isinstance(event, (str, bytes)) else json.dumps(event))
    body = json.loads(caught.value.frame)
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    error: dict[str, Any] = body["error"]
    return error


def update(server: ServerSide, **session: Any) -> Frames:
    event = server.receive(json.dumps({"type": "session.update", "session": session}))
    assert isinstance(event, ce.SessionUpdate)
    return server.update(event)
