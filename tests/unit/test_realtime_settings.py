"""The server role: what updates make of a session's settings, beta names included."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.protocol import DEFAULTS, last, update
from voice.realtime.client_events import SessionUpdate
from voice.realtime.codec import Format
from voice.realtime.refused import Invalid
from voice.realtime.server import ServerSide
from voice.realtime.settings import prompt_choice, prompt_tools


def test_an_update_changes_only_what_it_names() -> None:
    server = ServerSide(DEFAULTS)
    before = server.session
    update(server, type="realtime", audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}})
    after = server.session
    assert after.turn_detection is not None
    assert before.turn_detection is not None
    assert after.turn_detection.threshold == 0.7
    assert after.turn_detection.silence_duration_ms == before.turn_detection.silence_duration_ms
    update(server, audio={"input": {"turn_detection": None}})
    assert server.session.turn_detection is None
    assert server.session.voice == before.voice
    update(server, audio={"input": {"transcription": {"model": "whisper-1", "language": "de"}}})
    update(server, audio={"input": {"transcription": {"prompt": "names"}}})
    transcription = server.session.transcription
    assert transcription is not None
    assert (transcription.model, transcription.language, transcription.prompt) == ("whisper-1", "de", "names")
    update(server, audio={"input": {"transcription": None}})
    assert server.session.transcription is None


def test_a_version_of_turn_detection_may_be_named() -> None:
    server = ServerSide(DEFAULTS)
    told = last(update(server, audio={"input": {"turn_detection": {"type": "server_vad", "model_version": "v2"}}}))
    shown = told["session"]["audio"]["input"]["turn_detection"]
    assert shown["type"] == "server_vad"
    assert "model_version" not in shown


@pytest.mark.parametrize(
    ("session", "param", "hint"),
    [
        ({"audio": {"output": {"voice": "nova"}}}, "session.audio.output.voice", "joe, alloy"),
        ({"model": "gpt-9"}, "session.model", "gpt-realtime"),
        (
            {"audio": {"input": {"transcription": {"model": "nope"}}}},
            "session.audio.input.transcription.model",
            "whisper-1",
        ),
        (
            {"type": "transcription", "audio": {"input": {"transcription": {"language": "fr", "translate": True}}}},
            "session.audio.input.transcription.language",
            "en, de",
        ),
        (
            {"audio": {"input": {"transcription": {"translate": True}}}},
            "session.audio.input.transcription.translate",
            'a session of type "transcription"',
        ),
        (
            {"instructions": "x", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "session.audio.input.format.rate",
            "24000",
        ),
    ],
)
def test_a_value_not_known_here_is_named_with_those_that_are(session: Any, param: str, hint: str) -> None:
    server = ServerSide(DEFAULTS)
    before = server.session
    event = server.receive(json.dumps({"type": "session.update", "session": session, "event_id": "e7"}))
    assert isinstance(event, SessionUpdate)
    with pytest.raises(Invalid) as caught:
        server.update(event)
    error = json.loads(caught.value.frame)["error"]
    assert (error["param"], error["event_id"]) == (param, "e7")
    assert hint in error["message"]
    assert server.session is before


def test_a_transcription_session_may_be_translated() -> None:
    server = ServerSide(DEFAULTS, transcription=True)
    assert "translate" not in json.loads(server.created()[0])["session"]["audio"]["input"]["transcription"]
    told = last(update(server, audio={"input": {"transcription": {"translate": True}}}))
    assert told["session"]["audio"]["input"]["transcription"]["translate"] is True
    update(server, audio={"input": {"transcription": {"language": "de"}}})
    assert server.session.transcription is not None
    assert server.session.transcription.translate


def test_a_transcription_session_never_becomes_a_conversation() -> None:
    """Who may publish captions may not, for that, talk to the language model."""
    server = ServerSide(DEFAULTS)
    update(server, type="transcription")
    with pytest.raises(Invalid, match="stays one"):
        update(server, type="realtime")
    assert server.session.kind == "transcription"


def test_a_recogniser_of_english_alone_translates_nothing() -> None:
    server = ServerSide(replace(DEFAULTS, languages=("en",)), transcription=True)
    with pytest.raises(Invalid, match="knows English alone"):
        update(server, audio={"input": {"transcription": {"translate": True}}})


def test_functions_in_the_shape_chat_templates_take() -> None:
    server = ServerSide(DEFAULTS)
    update(
        server,
        tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        tool_choice={"type": "function", "name": "f"},
    )
    (tool,) = prompt_tools(server.session.tools)
    assert tool == {
        "type": "function",
        "function": {"name": "f", "description": "", "parameters": {"type": "object"}},
    }
    assert prompt_choice(server.session.tool_choice) == {"type": "function", "function": {"name": "f"}}
    assert prompt_choice("none") == "none"


# Beta names -------------------------------------------------------------------------------------------------


def test_a_flat_beta_session_is_understood() -> None:
    server = ServerSide(DEFAULTS)
    update(
        server,
        modalities=["text", "audio"],
        voice="alloy",
        instructions="Be kind.",
        input_audio_format="g711_ulaw",
        output_audio_format="g711_alaw",
        input_audio_transcription={"model": "whisper-1"},
        turn_detection={"type": "server_vad", "silence_duration_ms": 200},
        temperature=0.8,
        max_response_output_tokens=100,
    )
    session = server.session
    assert (session.modality, session.voice, session.max_output_tokens) == ("audio", "alloy", 100)
    assert (session.input_format, session.output_format) == (Format.PCMU, Format.PCMA)
    assert session.transcription is not None
    assert session.turn_detection is not None
    assert session.turn_detection.silence_duration_ms == 200


def test_a_beta_transcription_session_is_understood() -> None:
    server = ServerSide(DEFAULTS)
    event = {
        "type": "transcription_session.update",
        "session": {"input_audio_format": "pcm16", "input_audio_transcription": {"model": "whisper-1"}},
    }
    read = server.receive(json.dumps(event))
    assert isinstance(read, SessionUpdate)
    server.update(read)
    assert server.session.kind == "transcription"
    assert last(server.updated())["session"]["object"] == "realtime.transcription_session"
