"""Conversation items: wire shape to `voice.history.Item` and back."""

from typing import TypeVar

from msgspec import UNSET, UnsetType

from voice.history import Item
from voice.realtime.client_events import NewItem
from voice.realtime.codec import MAX_AUDIO_BYTES
from voice.realtime.refused import Refused
from voice.realtime.shapes import (
    AnyItem,
    CallOutputShape,
    CallShape,
    ContentShape,
    ItemStatus,
    MessageShape,
    new_id,
)

_T = TypeVar("_T", str, bytes)

_SPEAKERS = {
    "input_text": ("user", "system"),
    "input_audio": ("user",),
    "output_text": ("assistant",),
    "output_audio": ("assistant",),
    "text": ("user", "system", "assistant"),
    "audio": ("user", "assistant"),
}
"""Who may use which kind of content; "text" and "audio" are the beta interface's names."""


def read_item(shape: AnyItem, path: str = "item") -> NewItem:
    """The item a client gives, with a fresh id unless it brings one. Raises Refused; `path` names it in errors."""
    item_id = shape.id or new_id("item")
    complete = shape.status != "incomplete"
    match shape:
        case CallShape():
            call_id = shape.call_id or new_id("call")
            return NewItem(
                Item(
                    item_id,
                    "function_call",
                    "assistant",
                    shape.arguments,
                    complete=complete,
                    call_id=call_id,
                    name=shape.name,
                )
            )
        case CallOutputShape():
            return NewItem(
                Item(item_id, "function_call_output", text=shape.output, complete=complete, call_id=shape.call_id)
            )
        case MessageShape():
            return _message(shape, item_id, complete, path)


def _message(shape: MessageShape, item_id: str, complete: bool, path: str) -> NewItem:
    texts, sound, spoken, written = [], b"", False, True
    for place, part in enumerate(shape.content):
        where = f"{path}.content[{place}]"
        if part.type == "input_image":
            raise Refused("invalid_value", f"{where}.type", "images are not understood here; send input_text instead")
        if shape.role not in _SPEAKERS[part.type]:
            raise Refused("invalid_value", f"{where}.type", f"role {shape.role!r} cannot say {part.type!r}")
        if part.type.endswith("text"):
            texts.append(_given(part.text, f"{where}.text"))
            continue
        spoken = True
        if part.transcript:
            texts.append(part.transcript)
        elif shape.role == "assistant":
            raise Refused(
                "missing_required_parameter", f"{where}.transcript", "spoken answers are kept as text; give it"
            )
        else:
            sound += _given(part.audio, f"{where}.audio")
            written = False
    if len(sound) > MAX_AUDIO_BYTES:
        raise Refused("invalid_value", f"{path}.content", f"{len(sound)} bytes of audio; at most {MAX_AUDIO_BYTES}")
    text = " ".join(text for text in texts if text)
    item = Item(item_id, "message", shape.role, text, audio=spoken, pending=not written, complete=complete)
    return NewItem(item, sound or None)


def _given(value: _T | UnsetType | None, path: str) -> _T:
    if value is None or value is UNSET:
        raise Refused("missing_required_parameter", path, "it is missing; give it")
    return value


def show_item(item: Item, status: ItemStatus | None = None, audio: bytes | None = None) -> AnyItem:
    """The item as clients see it; `status` is derived from the item unless given, `audio` shown only when given."""
    shown = status or ("completed" if item.complete else "incomplete")
    if item.kind == "function_call":
        return CallShape(
            id=item.id,
            object="realtime.item",
            status=shown,
            call_id=item.call_id,
            name=item.name,
            arguments=item.text,
        )
    if item.kind == "function_call_output":
        return CallOutputShape(id=item.id, object="realtime.item", status=shown, call_id=item.call_id, output=item.text)
    return MessageShape(id=item.id, object="realtime.item", status=shown, role=item.role, content=[_part(item, audio)])


def _part(item: Item, audio: bytes | None) -> ContentShape:
    answer = item.role == "assistant"
    if not item.audio:
        return ContentShape(type="output_text" if answer else "input_text", text=item.text)
    return ContentShape(
        type="output_audio" if answer else "input_audio",
        transcript=None if item.pending else item.text,
        audio=UNSET if audio is None else audio,
    )
