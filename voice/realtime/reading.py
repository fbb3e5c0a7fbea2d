"""From a client's text frame to a checked event. Whatever the bytes are, the only exception is Refused."""

import re
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import Struct

from voice.realtime.beta import modernise
from voice.realtime.client_events import WIRE_EVENTS, AddItem, ClientEvent, ItemCreate, NewItem, Respond, ResponseCreate
from voice.realtime.items import read_item
from voice.realtime.refused import Refused
from voice.realtime.settings import SessionDefaults, modality, read_format, read_voice
from voice.realtime.shapes import InputItem, ParamsShape, ReferenceShape

MAX_DEPTH = 64
MAX_VALUES = 200_000
_AT = re.compile(r"^(?P<reason>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(.*)`")


def parse(frame: str) -> dict[str, Any]:
    """The JSON object in a frame. Raises Refused."""
    if frame.count(",") + frame.count("[") + frame.count("{") > MAX_VALUES:
        raise Refused("invalid_event", None, f"the frame has more than {MAX_VALUES} values; split it")
    try:
        event = msgspec.json.decode(frame)
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise Refused("invalid_json", None, f"the frame is not JSON ({error}); send one JSON object a frame") from error
    if not isinstance(event, dict):
        raise Refused("invalid_event", None, "the frame is JSON, but no object; send an object with a `type`")
    return event


def read(raw: dict[str, Any]) -> ClientEvent:
    """The event as its struct, beta names understood. Raises Refused."""
    raw = modernise(raw)
    kind = raw.get("type")
    if "type" not in raw:
        raise Refused("missing_required_parameter", "type", "it is missing; name the event")
    event_type = WIRE_EVENTS.get(kind) if isinstance(kind, str) else None
    if event_type is None:
        names = ", ".join(WIRE_EVENTS)
        raise Refused("invalid_value", "type", f"{_short(kind)} is no event known here; known are {names}")
    _bound(raw)
    try:
        event = msgspec.convert(raw, event_type)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from error
    _refuse_unknown(raw, event, "")
    return event


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refusal(complaint: str) -> Refused:
    """msgspec's words, taken apart into the path, the kind of mistake and the reason."""
    found = _AT.match(complaint)
    reason, path = (found["reason"], found["path"] or "") if found else (complaint, "")
    if missing := _MISSING.search(reason):
        field = f"{path}.{missing[1]}".lstrip(".")
        return Refused("missing_required_parameter", field, "it is missing; give it")
    code = "invalid_type" if re.match(r"Expected `.*`, got ", reason) else "invalid_value"
    advice = "; use the standard alphabet and padding" if "base64" in reason else ""
    return Refused(code, path or None, f"{reason[:1].lower()}{reason[1:]}{advice}")


def _bound(raw: dict[str, Any]) -> None:
    """Refuses what could be read but not be written again: nesting too deep, integers beyond 64 bits."""
    level: list[Any] = [raw]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, int) and abs(value) >= 2**63:
                raise Refused("invalid_value", None, f"the number {_short(value)} is out of range")
        if not below:
            return
        level = below
    raise Refused("invalid_event", None, f"nested deeper than {MAX_DEPTH} levels; flatten it")


def _refuse_unknown(raw: Any, read_as: Any, path: str) -> None:
    """Compares what came with what was understood, field by field."""
    if isinstance(raw, list) and isinstance(read_as, list):
        for place, (inner, value) in enumerate(zip(raw, read_as, strict=True)):
            _refuse_unknown(inner, value, f"{path}[{place}]")
    if not isinstance(raw, dict) or not isinstance(read_as, Struct):
        return
    fields = read_as.__struct_encode_fields__
    for name, inner in raw.items():
        where = f"{path}.{name}".lstrip(".")
        if name in fields:
            _refuse_unknown(inner, getattr(read_as, name), where)
        elif name != read_as.__struct_config__.tag_field:
            near = get_close_matches(name[:64], fields, n=1)
            advice = f"did you mean `{near[0]}`?" if near else f"known here are {', '.join(fields)}"
            where = where if len(where) <= 200 else f"{where[:197]}..."
            raise Refused("unknown_parameter", where, f"it is not known; {advice}")


# Events that carry items ------------------------------------------------------------------------------------


def read_add(event: ItemCreate) -> AddItem:
    """`conversation.item.create` with its item. Raises Refused."""
    return AddItem(event_id=event.event_id, new=read_item(event.item), previous_item_id=event.previous_item_id)


def read_respond(event: ResponseCreate, defaults: SessionDefaults) -> Respond:
    """`response.create` with its settings checked. Raises Refused."""
    given = event.response
    if given is None:
        return Respond(event_id=event.event_id)
    output = given.audio.output if given.audio else None
    voice = output.voice if output else None
    form = output.format if output else None
    return Respond(
        event_id=event.event_id,
        instructions=given.instructions if isinstance(given.instructions, str) else None,
        modality=modality(given.output_modalities) if given.output_modalities else None,
        in_conversation=given.conversation != "none",
        input=_inputs(given),
        metadata=given.metadata or None,
        tools=tuple(given.tools) if isinstance(given.tools, list) else None,
        tool_choice=given.tool_choice or None,
        max_output_tokens=given.max_output_tokens or None,
        voice=read_voice(voice, defaults, "response.audio.output.voice") if voice else None,
        format=read_format(form, "response.audio.output.format") if form else None,
        speed=(output.speed or None) if output else None,
    )


def _inputs(given: ParamsShape) -> tuple[NewItem | str, ...] | None:
    if not isinstance(given.input, list):
        return None
    return tuple(_input(shape, f"response.input[{place}]") for place, shape in enumerate(given.input))


def _input(shape: InputItem, path: str) -> NewItem | str:
    if not isinstance(shape, ReferenceShape):
        return read_item(shape, path)
    if not shape.id:
        raise Refused("missing_required_parameter", f"{path}.id", "it is missing; name the item meant")
    return shape.id
