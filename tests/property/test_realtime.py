"""The wire protocol under anything: no frame breaks the server role, and both roles understand each other."""

import contextlib
import json
from typing import Any, TypeVar

import numpy as np
import openai.types.realtime as rt
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol import DEFAULTS, READ_AS, last
from voice.events import ToolCall, Usage
from voice.history import Item
from voice.realtime import client_events as ce
from voice.realtime.client import ClientSide
from voice.realtime.codec import AudioFrame, Format, pack, unpack
from voice.realtime.conversation import Conversation
from voice.realtime.items import read_item, show_item
from voice.realtime.reading import read
from voice.realtime.refused import Invalid
from voice.realtime.response import Frames
from voice.realtime.server import ServerSide

IDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=32)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SAMPLES = st.integers(0, 400).map(lambda count: (np.arange(count) * 37 % 65_536 - 32_768).astype(np.int16))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def attempt(server: ServerSide, frame: str | bytes) -> Any:
    """What the server makes of a frame; None when it refuses it properly."""
    before = server.session
    try:
        event = server.receive(frame)
        if isinstance(event, ce.SessionUpdate):
            assert last(server.update(event))["type"] == "session.updated"
    except Invalid as invalid:
        body = json.loads(invalid.frame)
        assert body["type"] == "error"
        assert body["error"]["type"] == "invalid_request_error"
        assert body["error"]["message"]
        rt.RealtimeErrorEvent.model_validate_json(invalid.frame, strict=True)
        assert server.session is before
        return None
    return event


# Anything at all --------------------------------------------------------------------------------------------


@given(st.text(max_size=300) | st.binary(max_size=300), st.booleans())
def test_random_frames_are_read_or_refused(frame: str | bytes, binary: bool) -> None:
    event = attempt(ServerSide(DEFAULTS, binary=binary), frame)
    assert (event is not None) == (binary and isinstance(frame, bytes) and len(frame) % 2 == 0)


@given(st.sampled_from(sorted(READ_AS)), JSON, st.data())
def test_random_fields_are_read_or_refused(kind: str, value: Any, data: st.DataObject) -> None:
    fields = ["session", "response", "item", "audio", "item_id", "content_index", "event_id", "previous_item_id"]
    names = data.draw(st.lists(st.sampled_from(fields) | st.text(max_size=8), max_size=4))
    event = attempt(ServerSide(DEFAULTS), json.dumps({**dict.fromkeys(names, value), "type": kind}))
    assert event is None or type(event) is READ_AS[kind]


EXAMPLES: list[dict[str, Any]] = [
    {
        "type": "session.update",
        "event_id": "e1",
        "session": {
            "type": "realtime",
            "instructions": "x",
            "output_modalities": ["audio"],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
            "tool_choice": "auto",
            "max_output_tokens": 100,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "turn_detection": {"type": "server_vad", "threshold": 0.5},
                    "transcription": {"model": "whisper-1"},
                },
                "output": {"voice": "alloy", "speed": 1.0},
            },
        },
    },
    {"type": "session.update", "session": {"modalities": ["text"], "voice": "alloy", "input_audio_format": "pcm16"}},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAA="}]},
    },
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "metadata": {"a": "b"},
            "input": [
                {"type": "item_reference", "id": "item_1"},
                {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
            ],
        },
    },
    {"type": "input_audio_buffer.append", "audio": "AAAAAA=="},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 100},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, below in inner:
        found += places(below, (*path, key))
    return found


@given(st.sampled_from(EXAMPLES), JSON, st.data())
def test_valid_events_with_one_wrong_value_are_read_or_refused(
    example: dict[str, Any], value: Any, data: st.DataObject
) -> None:
    assert attempt(ServerSide(DEFAULTS), json.dumps(example)) is not None
    event = json.loads(json.dumps(example))
    path = data.draw(st.sampled_from(places(event)))
    target = event
    for key in path[:-1]:
        target = target[key]
    if data.draw(st.booleans()):
        target[path[-1]] = value
    elif isinstance(target, dict):
        target[data.draw(st.text(max_size=10))] = target.pop(path[-1])
    attempt(ServerSide(DEFAULTS), json.dumps(event))


@given(st.sampled_from(EXAMPLES), st.data())
def test_cut_frames_are_refused(example: dict[str, Any], data: st.DataObject) -> None:
    frame = json.dumps(example)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    assert attempt(ServerSide(DEFAULTS), cut) is None


# Both roles -------------------------------------------------------------------------------------------------


@given(SAMPLES, st.booleans(), st.sampled_from(list(Format)))
def test_what_a_client_says_is_what_a_server_hears(samples: Any, binary: bool, fmt: Format) -> None:
    client, server = ClientSide(binary=binary), ServerSide(DEFAULTS, binary=binary)
    update = server.receive(client.update(audio={"input": {"format": {"type": fmt.value}}}))
    assert isinstance(update, ce.SessionUpdate)
    server.update(update)
    heard = server.receive(client.append(samples))
    assert isinstance(heard, ce.Append)
    assert heard.audio == fmt.encode(samples)
    spoken = server.receive(client.create_speech(samples))
    assert isinstance(spoken, ce.AddItem)
    assert (spoken.new.audio or b"") == fmt.encode(samples)


@given(IDS, IDS, WORDS, st.integers(0, 86_400_000))
def test_what_a_client_builds_is_what_a_server_reads(one: str, other: str, words: str, number: int) -> None:
    client, server = ClientSide(), ServerSide(DEFAULTS)
    assert server.receive(client.commit()) == ce.Commit()
    assert server.receive(client.clear()) == ce.Clear()
    assert server.receive(client.delete(one)) == ce.ItemDelete(item_id=one)
    assert server.receive(client.retrieve(one)) == ce.ItemRetrieve(item_id=one)
    assert server.receive(client.truncate(one, number)) == ce.ItemTruncate(
        item_id=one, content_index=0, audio_end_ms=number
    )
    assert server.receive(client.playback(one, number)) == ce.Playback(item_id=one, audio_ms=number)
    assert server.receive(client.cancel()) == ce.ResponseCancel()
    assert server.receive(client.cancel(one)) == ce.ResponseCancel(response_id=one)
    typed = server.receive(client.create_item(words, item_id=one, previous=other))
    assert typed == ce.AddItem(event_id=None, new=ce.NewItem(Item(one, text=words)), previous_item_id=other)
    asked = server.receive(client.respond(conversation="none", instructions=words, metadata={one: other}))
    assert asked == ce.Respond(in_conversation=False, instructions=words, metadata={one: other})
    assert server.receive(client.respond()) == ce.Respond()
    update = server.receive(client.update(instructions=words))
    assert isinstance(update, ce.SessionUpdate)
    server.update(update)
    assert server.session.instructions == words


ITEMS = st.one_of(
    st.builds(
        Item,
        IDS,
        st.just("message"),
        st.sampled_from(["user", "assistant"]),
        WORDS.filter(bool),
        audio=st.booleans(),
        complete=st.booleans(),
    ),
    st.builds(Item, IDS, st.just("message"), st.just("system"), WORDS, complete=st.booleans()),
    st.builds(Item, IDS, st.just("function_call"), st.just("assistant"), WORDS, call_id=IDS, name=IDS),
    st.builds(Item, IDS, st.just("function_call_output"), st.just("user"), WORDS, call_id=IDS),
)


@given(ITEMS)
def test_items_survive_the_wire(item: Item) -> None:
    assert read_item(show_item(item)) == ce.NewItem(item)
    added = ServerSide(DEFAULTS).receive(ClientSide().add(item))
    assert added == ce.AddItem(event_id=None, new=ce.NewItem(item), previous_item_id=None)


@given(st.sampled_from(EXAMPLES[:2]))
def test_sending_back_what_was_shown_changes_nothing(example: dict[str, Any]) -> None:
    server = ServerSide(DEFAULTS, transcription=example["session"].get("type") == "transcription")
    update = read(example)
    assert isinstance(update, ce.SessionUpdate)
    server.update(update)
    before = server.session
    shown = json.loads(server.updated()[0])["session"]
    assert attempt(server, json.dumps({"type": "session.update", "session": shown})) is not None
    assert server.session == before


@given(st.binary(max_size=60), IDS, st.integers(0, 65_535), st.integers(0, 2**32 - 1), st.binary(max_size=60))
def test_binary_frames_are_read_back_or_refused(noise: bytes, name: str, index: int, offset: int, data: bytes) -> None:
    frame = AudioFrame(name, index, offset, data)
    assert unpack(pack(frame)) == frame
    with contextlib.suppress(ValueError):
        unpack(noise)


# Answers ----------------------------------------------------------------------------------------------------

Step = tuple[str, Any]
T = TypeVar("T")
SPOKEN: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(st.just("say"), WORDS) | st.tuples(st.just("audio"), SAMPLES), max_size=8
)
WRITTEN: st.SearchStrategy[list[Step]] = st.lists(st.tuples(st.just("text"), WORDS), max_size=8)
ENDS = st.sampled_from(["completed", "cancelled", "failed", "incomplete"])


@given(
    st.sampled_from(["audio", "text"]),
    st.data(),
    ENDS,
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(Format)),
)
def test_a_client_puts_an_answer_together_as_it_was_given(
    modality: Any, data: st.DataObject, end: Any, calls: int, conversation: bool, binary: bool, fmt: Format
) -> None:
    server = ServerSide(DEFAULTS, binary=binary)
    writer = server.respond("resp_1", "item_1", modality=modality, format=fmt, conversation=conversation)
    steps = data.draw(SPOKEN if modality == "audio" else WRITTEN)
    frames: Frames = writer.created()
    for name, value in steps:
        frames += getattr(writer, name)(value)
    made = [ToolCall(f"call_{number}", "f", "{}") for number in range(calls)]
    for number, call in enumerate(made):
        frames += writer.tool_call(call, f"item_call_{number}")
    frames += writer.done(end, usage=Usage(10, 2, 5), fault="stopped" if end == "failed" else "")

    client, seen = ClientSide(binary=binary), Conversation()
    kinds = []
    for frame in frames:
        event = client.receive(frame)
        kinds.append(type(event).__name__)
        seen.apply(event)
    reply = seen.replies["resp_1"]
    assert reply.text == "".join(value for name, value in steps if name != "audio")
    sound = [value for name, value in steps if name == "audio"]
    expected = fmt.decode(fmt.encode(np.concatenate([np.zeros(0, np.int16), *sound])))
    assert np.array_equal(reply.audio.samples, expected)
    assert (reply.status, reply.calls) == (end, made)
    assert reply.items == (["item_1"] if steps else []) + [f"item_call_{number}" for number in range(calls)]
    assert reply.usage is not None
    assert list(seen.replies) == ["resp_1"]
    assert (kinds[0], kinds[-1]) == ("ResponseCreated", "ResponseDone")
    assert kinds.count("OutputItemAdded") == kinds.count("OutputItemDone") == len(reply.items)
    assert kinds.count("ItemAdded") == kinds.count("ItemDone") == (len(reply.items) if conversation else 0)
    assert kinds.count("PartAdded") == kinds.count("PartDone") == bool(steps)


@given(st.lists(WORDS, max_size=5), st.booleans())
def test_a_client_puts_an_utterance_together(deltas: list[str], works: bool) -> None:
    server, client, seen = ServerSide(DEFAULTS), ClientSide(), Conversation()
    frames = server.speech_started("item_1", 0.5) + server.speech_stopped("item_1", 2.0)
    frames += server.committed("item_1", None)
    for delta in deltas:
        frames += server.transcription_delta("item_1", delta)
    if works:
        frames += server.transcription_completed("item_1", "".join(deltas), 1.5)
    else:
        frames += server.transcription_failed("item_1", "no model")
    frames += server.error("careful")
    for frame in frames:
        seen.apply(client.receive(frame))
    said = seen.utterances["item_1"]
    assert said.text == "".join(deltas)
    assert said.transcript == (said.text if works else None)
    assert bool(said.error) is not works
    assert (said.started_ms, said.stopped_ms, said.committed) == (500, 2000, True)
    assert [error.message for error in seen.errors] == ["careful"]
