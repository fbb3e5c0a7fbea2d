"""The server role: orders of events, items, errors, binary frames."""

import json
from typing import Any

import numpy as np
import pytest

from tests.protocol import DEFAULTS, kinds, last, refuse, update
from voice.events import ToolCall, Usage
from voice.history import Item
from voice.realtime.client_events import AddItem, Append, Playback, Respond, SessionUpdate
from voice.realtime.codec import AudioFrame, Format, pack, unpack
from voice.realtime.refused import Invalid
from voice.realtime.server import ServerSide

SAMPLES = np.arange(240, dtype=np.int16)


# Order ------------------------------------------------------------------------------------------------------


def test_order_of_a_spoken_answer() -> None:
    writer = ServerSide(DEFAULTS).respond("resp_1", "item_2", previous="item_1")
    frames = writer.created() + writer.say("Hi ") + writer.audio(SAMPLES) + writer.say("you.") + writer.done()
    assert kinds(frames) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert last(frames)["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hi you."}]


def test_order_of_a_written_answer_out_of_band() -> None:
    writer = ServerSide(DEFAULTS).respond("resp_1", "item_2", modality="text", conversation=False)
    frames = writer.created() + writer.text("Hi.") + writer.done()
    assert kinds(frames) == [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    assert last(frames)["response"]["conversation_id"] is None


def test_order_of_a_function_call_after_words() -> None:
    writer = ServerSide(DEFAULTS).respond("resp_1", "item_2", previous="item_1")
    writer.say("Let me see.")
    frames = writer.tool_call(ToolCall("call_1", "weather", "{}"), "item_3")
    assert kinds(frames) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
    ]
    assert json.loads(frames[6])["previous_item_id"] == "item_2"
    assert json.loads(frames[5])["output_index"] == 1
    again = writer.say("Done.")
    assert json.loads(again[0])["item"]["id"] not in ("item_2", "item_3")
    assert json.loads(again[0])["output_index"] == 2


def test_a_cut_answer_shows_only_what_was_heard() -> None:
    writer = ServerSide(DEFAULTS).respond("resp_1", "item_2")
    writer.say("One two three")
    frames = writer.done("cancelled", reason="turn_detected", heard="One", usage=Usage(10, 4, 5))
    done = last(frames)["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["status"] == "incomplete"
    assert [json.loads(frame).get("transcript") for frame in frames][1] == "One"
    assert done["output"][0]["content"][0]["transcript"] == "One"


def test_an_answer_without_content_has_no_item() -> None:
    writer = ServerSide(DEFAULTS).respond("resp_1", "item_2")
    frames = writer.created() + writer.done("failed", fault="the engine stopped")
    assert kinds(frames) == ["response.created", "response.done"]
    done = last(frames)["response"]
    assert done["output"] == []
    assert done["status_details"]["error"]["message"] == "the engine stopped"


def test_usage_counts_a_spoken_second_as_twenty_tokens() -> None:
    writer = ServerSide(DEFAULTS).respond("resp_1", "item_2")
    writer.audio(np.zeros(36_000, np.int16))
    usage = last(writer.done(usage=Usage(100, 60, 7)))["response"]["usage"]
    assert usage["output_token_details"] == {"text_tokens": 7, "audio_tokens": 30}
    assert usage["input_token_details"]["cached_tokens"] == 60
    assert usage["total_tokens"] == 100 + 7 + 30


def test_on_a_track_sound_is_plain_and_events_tell_when_it_sounds() -> None:
    server = ServerSide(DEFAULTS, media=True)
    for end, closing in (
        ("completed", ["response.done", "output_audio_buffer.stopped"]),
        ("cancelled", ["response.done"]),
    ):
        writer = server.respond("resp_1", "item_2")
        *told, sound = writer.audio(SAMPLES)
        assert kinds(told)[-2:] == ["response.content_part.added", "output_audio_buffer.started"]
        assert sound == SAMPLES.tobytes()
        assert writer.audio(SAMPLES) == [SAMPLES.tobytes()]
        ended = kinds(writer.done(end))
        assert ended[-len(closing) :] == closing
        assert ("output_audio_buffer.cleared" in ended) == (end == "cancelled")
    assert "output_audio_buffer.stopped" not in kinds(server.respond("resp_2", "item_3").done())


def test_a_track_has_one_format() -> None:
    server = ServerSide(DEFAULTS, media=True)
    law = {"format": {"type": "audio/pcmu"}}
    update = {"type": "session.update", "session": {"type": "realtime", "audio": {"input": law, "output": law}}}
    event = server.receive(json.dumps(update))
    assert isinstance(event, SessionUpdate)
    shown = last(server.update(event))["session"]["audio"]
    assert shown["input"]["format"] == shown["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    asked = server.receive(json.dumps({"type": "response.create", "response": {"audio": {"output": law}}}))
    assert isinstance(asked, Respond)
    assert asked.format is None
    assert isinstance(server.receive(SAMPLES.tobytes()), Append)
    with pytest.raises(Invalid, match="track"):
        server.receive(json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA"}))


def test_where_the_end_says_nothing_an_event_does() -> None:
    assert kinds(ServerSide(DEFAULTS, media=True).farewell("time is up")) == ["error"]
    assert ServerSide(DEFAULTS).farewell("time is up") == []


def test_extensions_only_for_those_who_ask() -> None:
    for server, count in ((ServerSide(DEFAULTS), 0), (ServerSide(DEFAULTS, extensions=True), 1)):
        assert len(server.tentative("item_1", "maybe")) == count
        assert len(server.timeline({"turn": 1})) == count
        assert len(server.audio_gap(0, 40, "overflow")) == count
        assert len(server.degraded("asr", "behind by 2 s")) == count


def test_a_failed_transcript_has_no_fields_without_a_value() -> None:
    """The agents SDK takes no null here, and would overlook the event."""
    error = last(ServerSide(DEFAULTS).transcription_failed("item_1", "no model"))["error"]
    assert error == {"type": "server_error", "code": "transcription_failed", "message": "no model"}


# Audio in and out -------------------------------------------------------------------------------------------


def test_binary_frames_both_ways() -> None:
    server = ServerSide(DEFAULTS, binary=True)
    heard = server.receive(SAMPLES.tobytes())
    assert isinstance(heard, Append)
    assert np.array_equal(server.session.input_format.decode(heard.audio), SAMPLES)
    writer = server.respond("resp_1", "item_2")
    writer.audio(SAMPLES)
    frame = writer.audio(SAMPLES)[-1]
    assert isinstance(frame, bytes)
    item_id, output_index, offset, data = unpack(frame)
    assert (item_id, output_index, offset) == ("item_2", 0, len(SAMPLES))
    assert np.array_equal(Format.PCM.decode(data), SAMPLES)
    assert "binary" in refuse(ServerSide(DEFAULTS), SAMPLES.tobytes())["message"]


def test_half_a_sample_is_refused_and_g711_has_none() -> None:
    server = ServerSide(DEFAULTS, binary=True)
    assert refuse(server, b"abc")["param"] == "audio"
    update(server, audio={"input": {"format": {"type": "audio/pcmu"}}})
    assert isinstance(server.receive(b"abc"), Append)


def test_an_append_beyond_the_bound_is_refused() -> None:
    server = ServerSide(DEFAULTS, binary=True)
    assert "at most" in refuse(server, bytes(15 * 1024 * 1024 + 2))["message"]
    assert isinstance(server.receive(bytes(15 * 1024 * 1024)), Append)


@pytest.mark.parametrize("fmt", list(Format))
def test_formats_survive_the_wire(fmt: Format) -> None:
    samples = (np.sin(np.arange(800) / 9) * 12_000).astype(np.int16)
    again = fmt.decode(fmt.encode(samples))
    assert len(again) == len(samples)
    assert np.max(np.abs(again.astype(int) - samples)) <= (0 if fmt is Format.PCM else 600)


def test_a_binary_frame_is_aligned_and_checked() -> None:
    for name in ("item_1", "i", "item_abcdefghijklmnopqrstu"):
        packed = pack(AudioFrame(name, 1, 7, b"ab"))
        assert (len(packed) - 2) % 4 == 0
        assert unpack(packed) == AudioFrame(name, 1, 7, b"ab")
    for wrong in (b"", b"\x02" + bytes(12), b"\x01\xff" + bytes(12)):
        with pytest.raises(ValueError, match="binary frame"):
            unpack(wrong)


# Events that carry items ------------------------------------------------------------------------------------


def test_spoken_items_come_with_their_sound() -> None:
    server = ServerSide(DEFAULTS)
    part = {"type": "input_audio", "audio": "AAABAAIA"}
    item = {"type": "message", "role": "user", "content": [part]}
    added = server.receive(json.dumps({"type": "conversation.item.create", "item": item, "previous_item_id": "root"}))
    assert isinstance(added, AddItem)
    assert added.new.audio == bytes([0, 0, 1, 0, 2, 0])
    assert added.new.item.pending
    assert added.new.item.audio
    assert added.previous_item_id == "root"


def test_an_answer_for_one_occasion() -> None:
    server = ServerSide(DEFAULTS)
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    event = {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "input": [{"type": "item_reference", "id": "item_1"}, message],
            "output_modalities": ["text"],
            "metadata": {"topic": "weather"},
            "max_output_tokens": 40,
            "audio": {"output": {"voice": "alloy", "format": {"type": "audio/pcmu"}}},
        },
    }
    asked = server.receive(json.dumps(event))
    assert isinstance(asked, Respond)
    assert (asked.in_conversation, asked.modality, asked.voice, asked.format) == (False, "text", "alloy", Format.PCMU)
    assert asked.input is not None
    reference, new = asked.input
    assert reference == "item_1"
    assert not isinstance(new, str)
    assert new.item.text == "hi"
    assert isinstance(server.receive('{"type": "response.create", "response": {"modalities": ["text"]}}'), Respond)


def test_playback_is_read() -> None:
    event = ServerSide(DEFAULTS).receive('{"type": "rejoinder.playback", "item_id": "item_1", "audio_ms": 840}')
    assert event == Playback(item_id="item_1", audio_ms=840)


def test_items_are_shown_as_they_are() -> None:
    server = ServerSide(DEFAULTS)
    pending = last(server.item_added(Item("item_1", audio=True, pending=True), None))["item"]
    assert pending["content"] == [{"type": "input_audio", "transcript": None}]
    cut = last(server.item_done(Item("item_2", role="assistant", text="One", audio=True, complete=False), "item_1"))
    assert cut["item"]["status"] == "incomplete"
    assert cut["previous_item_id"] == "item_1"


# Errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ("not json", "invalid_json", None),
        ('{"type": "\\ud800"}', "invalid_json", None),
        ('{"type": "\ud800"}', "invalid_json", None),
        ("[1]", "invalid_event", None),
        ({}, "missing_required_parameter", "type"),
        ({"type": "nope"}, "invalid_value", "type"),
        ({"type": ["x"]}, "invalid_value", "type"),
        ({"type": "conversation.item.delete"}, "missing_required_parameter", "item_id"),
        ({"type": "conversation.item.delete", "item_id": 7}, "invalid_type", "item_id"),
        ({"type": "conversation.item.delete", "item_id": "x" * 129}, "invalid_value", "item_id"),
        ({"type": "response.cancel", "respons_id": "x"}, "unknown_parameter", "respons_id"),
        ({"type": "input_audio_buffer.append", "audio": "A-_="}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAA"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA" + "AA=="}, None, None),
        (
            {"type": "session.update", "session": {"audio": {"input": {"vad": 1}}}},
            "unknown_parameter",
            "session.audio.input.vad",
        ),
        (
            {"type": "session.update", "session": {"instructions": "x" * 100_001}},
            "invalid_value",
            "session.instructions",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 10**40},
            "invalid_value",
            None,
        ),
    ],
)
def test_mistakes_are_named(event: Any, code: str | None, param: str | None) -> None:
    server = ServerSide(DEFAULTS)
    if code is None:
        assert server.receive(json.dumps(event))
        return
    error = refuse(server, event)
    assert (error["code"], error["param"]) == (code, param)


def test_nesting_and_images_are_refused_politely() -> None:
    server = ServerSide(DEFAULTS)
    assert refuse(server, "[" * 100_000)["code"] == "invalid_json"
    assert "values" in refuse(server, '{"type": "x", "a": [' + "[]," * 200_000 + "0]}")["message"]
    deep = '{"a":' * 80 + "{}" + "}" * 80
    tool = f'{{"type": "function", "name": "f", "parameters": {deep}}}'
    assert "levels" in refuse(server, f'{{"type": "session.update", "session": {{"tools": [{tool}]}}}}')["message"]
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    item = {"type": "message", "role": "user", "content": [image]}
    error = refuse(server, {"type": "conversation.item.create", "item": item, "event_id": "e9"})
    assert (error["param"], error["event_id"]) == ("item.content[0].type", "e9")
    assert "input_text" in error["message"]


def test_errors_suggest_the_nearest_name() -> None:
    error = refuse(ServerSide(DEFAULTS), {"type": "session.update", "session": {"instruction": "x"}})
    assert "`instructions`" in error["message"]
    assert "session.update" in error["message"]
