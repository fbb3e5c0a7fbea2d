"""Events a client sends."""

from typing import Annotated

from msgspec import Meta, Struct

from voice.history import Item
from voice.realtime.codec import Format
from voice.realtime.shapes import (
    AnyItem,
    Index,
    Millis,
    Modality,
    Name,
    ParamsShape,
    SessionShape,
    Tokens,
    ToolChoice,
    ToolShape,
)

EventId = Annotated[str, Meta(max_length=512)]


class ClientEvent(Struct, kw_only=True, tag_field="type", frozen=True, omit_defaults=True):
    """Base: every event may carry an id of the client's, which an error about it repeats."""

    event_id: EventId | None = None


class SessionUpdate(ClientEvent, tag="session.update", frozen=True):
    """Change the settings given, leave the others."""

    session: SessionShape


class Append(ClientEvent, tag="input_audio_buffer.append", frozen=True):
    """More of the caller's audio, in the session's input format; base64 on the wire."""

    audio: bytes


class Commit(ClientEvent, tag="input_audio_buffer.commit", frozen=True):
    """The buffered audio is a turn."""


class Clear(ClientEvent, tag="input_audio_buffer.clear", frozen=True):
    """Forget the buffered audio."""


class OutputClear(ClientEvent, tag="output_audio_buffer.clear", frozen=True):
    """Stop the answer that sounds; WebRTC only."""


class ItemCreate(ClientEvent, tag="conversation.item.create", frozen=True):
    """Put an item into the conversation: at the end, or after another one, or first ("root")."""

    item: AnyItem
    previous_item_id: Name | None = None


class ItemRetrieve(ClientEvent, tag="conversation.item.retrieve", frozen=True):
    """Show an item."""

    item_id: Name


class ItemDelete(ClientEvent, tag="conversation.item.delete", frozen=True):
    """Remove an item."""

    item_id: Name


class ItemTruncate(ClientEvent, tag="conversation.item.truncate", frozen=True):
    """Cut a spoken answer to what was heard."""

    item_id: Name
    content_index: Index
    audio_end_ms: Millis


class ResponseCreate(ClientEvent, tag="response.create", frozen=True):
    """Answer now."""

    response: ParamsShape | None = None


class ResponseCancel(ClientEvent, tag="response.cancel", frozen=True):
    """Stop answering."""

    response_id: Name | None = None


class Playback(ClientEvent, tag="rejoinder.playback", frozen=True):
    """So much of an answer has sounded at the client."""

    item_id: Name
    audio_ms: Millis


WIRE_EVENTS: dict[str, type[ClientEvent]] = {
    str(event.__struct_config__.tag): event
    for event in (
        SessionUpdate,
        Append,
        Commit,
        Clear,
        OutputClear,
        ItemCreate,
        ItemRetrieve,
        ItemDelete,
        ItemTruncate,
        ResponseCreate,
        ResponseCancel,
        Playback,
    )
}


# What the server role makes of the two events that carry items ------------------------------------------------


class NewItem(Struct, frozen=True):
    """An item a client gives; `audio` is its sound in the session's input format, where it has any."""

    item: Item
    audio: bytes | None = None


class AddItem(Struct, frozen=True, kw_only=True):
    """`conversation.item.create`."""

    event_id: str | None
    new: NewItem
    previous_item_id: str | None


class Respond(Struct, frozen=True, kw_only=True):
    """`response.create`; None is the session's setting.

    Attributes:
        in_conversation: False: out of band, nothing is added to the conversation.
        input: what to answer instead of the conversation: items, and ids of items in the conversation.
    """

    event_id: str | None = None
    instructions: str | None = None
    modality: Modality | None = None
    in_conversation: bool = True
    input: tuple[NewItem | str, ...] | None = None
    metadata: dict[str, str] | None = None
    tools: tuple[ToolShape, ...] | None = None
    tool_choice: ToolChoice | None = None
    max_output_tokens: Tokens | None = None
    voice: str | None = None
    format: Format | None = None
    speed: float | None = None


Request = (
    SessionUpdate
    | Append
    | Commit
    | Clear
    | OutputClear
    | AddItem
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | Respond
    | ResponseCancel
    | Playback
)
