"""Whatever the official client's types can build, the server role reads."""

import base64
import json
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

import openai.types.realtime as rt
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import BaseModel

from tests import protocol
from tests.protocol import READ_AS, last
from voice.realtime import client_events as ce
from voice.realtime.server import ServerSide

DEFAULTS = replace(protocol.DEFAULTS, models=protocol.DEFAULTS.transcription_models)
IDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=32)
OURS = {
    "voice": st.sampled_from(sorted(DEFAULTS.voices)),
    "model": st.sampled_from(DEFAULTS.transcription_models),
    "language": st.sampled_from(DEFAULTS.languages),
    "audio": st.binary(max_size=20).map(lambda data: base64.b64encode(data * 2).decode()),
    "tool_choice": st.sampled_from(["none", "auto", "required"]),
    "threshold": st.floats(0, 1),
    "speed": st.floats(0.25, 1.5),
    "max_output_tokens": st.integers(1, 4096) | st.just("inf"),
    "conversation": st.sampled_from(["auto", "none"]),
    "output_modalities": st.sampled_from([["audio"], ["text"], ["text", "audio"]]),
    "tools": st.lists(st.fixed_dictionaries({"type": st.just("function"), "name": IDS}), max_size=2),
}
"""Fields whose official type says less than the API: names known here, bounds, base64; no MCP."""


def strategy(annotation: Any, name: str = "") -> st.SearchStrategy[Any]:
    """JSON values an annotation of the official types allows."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if name in OURS and not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        plain = [arg for arg in (args or (annotation,)) if isinstance(arg, type) and issubclass(arg, BaseModel)]
        if name != "audio" or not plain:
            return OURS[name]
    if origin is Annotated:
        return strategy(args[0], name)
    if origin is Literal:
        return st.sampled_from([arg for arg in args if arg != "input_image"])
    if origin in (typing.Union, types.UnionType):
        kept = [arg for arg in args if arg is not type(None) and "Mcp" not in getattr(arg, "__name__", "")]
        return st.one_of([strategy(arg, name) for arg in kept])
    if origin is list:
        return st.lists(strategy(args[0]), min_size=1, max_size=3)
    if origin is dict:
        return st.dictionaries(IDS, IDS, max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return model(annotation)
    leaves: dict[Any, st.SearchStrategy[Any]] = {
        str: IDS,
        int: st.integers(0, 1000),
        float: st.floats(0, 1),
        bool: st.booleans(),
        object: st.dictionaries(IDS, IDS, max_size=2),
    }
    return leaves[annotation]


CONTENT: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "user": lambda part: {"type": "input_text", "text": "x"} if "type" not in part else {"audio": "", **part},
    "assistant": lambda part: {"type": "output_text", "transcript": "y", "text": "x", **part},
    "system": lambda part: {"type": "input_text", "text": "x", **part},
}


def model(official: type[BaseModel]) -> st.SearchStrategy[Any]:
    """JSON objects of an official type: required fields always, others sometimes, `type` always."""
    needed, optional = {}, {}
    for name, info in official.model_fields.items():
        value = strategy(info.annotation, name)
        (needed if info.is_required() or name in ("type", "name") else optional)[name] = value
    built = st.fixed_dictionaries(needed, optional=optional)
    if "Message" in official.__name__:
        return built.map(
            lambda item: {**item, "content": [{"text": "x", **CONTENT[item["role"]](part)} for part in item["content"]]}
        )
    return built


CLIENT_EVENTS = [
    rt.ConversationItemCreateEvent,
    rt.ConversationItemDeleteEvent,
    rt.ConversationItemRetrieveEvent,
    rt.ConversationItemTruncateEvent,
    rt.InputAudioBufferAppendEvent,
    rt.InputAudioBufferClearEvent,
    rt.InputAudioBufferCommitEvent,
    rt.OutputAudioBufferClearEvent,
    rt.ResponseCancelEvent,
    rt.ResponseCreateEvent,
    rt.SessionUpdateEvent,
]


@settings(max_examples=300)
@given(st.one_of([model(official) for official in CLIENT_EVENTS]))
def test_what_the_official_types_build_is_read(event: dict[str, Any]) -> None:
    server = ServerSide(DEFAULTS)
    read = server.receive(json.dumps(event))
    assert type(read) is READ_AS[event["type"]]
    if isinstance(read, ce.SessionUpdate):
        assert last(server.update(read))["type"] == "session.updated"
