"""The client's side: builds the frames a client sends, reads those a server sends. No clock, no I/O."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from streams.audio import Samples
from voice.history import Item
from voice.realtime import client_events as ce
from voice.realtime import server_events as ev
from voice.realtime.codec import Format, unpack
from voice.realtime.items import show_item
from voice.realtime.settings import read_format
from voice.realtime.shapes import ContentShape, MessageShape, ParamsShape, SessionShape


class Other(Struct, frozen=True):
    """A server event that is not known here."""

    type: str
    body: dict[str, Any]


Event = ev.Known | Other

_KNOWN: dict[str, type[ev.ServerEvent]] = {str(known.__struct_config__.tag): known for known in ev.KNOWN}


class ClientSide:
    """One session's protocol, seen from the client.

    Args:
        binary: audio travels as binary frames both ways (subprotocol rejoinder.v1).

    Attributes:
        input_format: how `append` encodes: the server's default until an `update` built here changes it.
    """

    def __init__(self, *, binary: bool = False) -> None:
        self.input_format = Format.PCM
        self._binary = binary
        self._answers: dict[str, str] = {}

    # Out ----------------------------------------------------------------------------------------------------

    def append(self, samples: Samples) -> str | bytes:
        """More of the caller's audio: int16 samples, shape (n,), at `input_format.rate`."""
        data = self.input_format.encode(samples)
        return data if self._binary else _frame(ce.Append(audio=data))

    def commit(self) -> str:
        """The audio so far is a turn."""
        return _frame(ce.Commit())

    def clear(self) -> str:
        """Forget the audio so far."""
        return _frame(ce.Clear())

    def update(self, **settings: Any) -> str:
        """Change settings, named as the API names them: `update(audio={"input": {"turn_detection": None}})`.

        Raises:
            msgspec.ValidationError: a setting has the wrong type.
        """
        session = msgspec.convert({"type": "realtime", **settings}, SessionShape)
        if session.audio and session.audio.input and session.audio.input.format:
            self.input_format = read_format(session.audio.input.format, "session.audio.input.format")
        return _frame(ce.SessionUpdate(session=session))

    def create_item(
        self,
        text: str,
        *,
        role: Literal["user", "assistant", "system"] = "user",
        item_id: str | None = None,
        previous: str | None = None,
    ) -> str:
        """Something typed."""
        kind: Literal["output_text", "input_text"] = "output_text" if role == "assistant" else "input_text"
        item = MessageShape(id=item_id or UNSET, role=role, content=[ContentShape(type=kind, text=text)])
        return _frame(ce.ItemCreate(item=item, previous_item_id=previous))

    def create_speech(self, samples: Samples) -> str:
        """Something said, whole: int16 samples, shape (n,), at `input_format.rate`."""
        part = ContentShape(type="input_audio", audio=self.input_format.encode(samples))
        return _frame(ce.ItemCreate(item=MessageShape(role="user", content=[part])))

    def add(self, item: Item, previous: str | None = None) -> str:
        """Any item whose words are known, such as a function call's output."""
        return _frame(ce.ItemCreate(item=show_item(item), previous_item_id=previous))

    def retrieve(self, item_id: str) -> str:
        """Show an item."""
        return _frame(ce.ItemRetrieve(item_id=item_id))

    def delete(self, item_id: str) -> str:
        """Remove an item."""
        return _frame(ce.ItemDelete(item_id=item_id))

    def truncate(self, item_id: str, audio_end_ms: int, content_index: int = 0) -> str:
        """Only so much of a spoken answer was heard."""
        return _frame(ce.ItemTruncate(item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms))

    def respond(self, **params: Any) -> str:
        """Answer now; `params` as the API names them: `respond(conversation="none", instructions="...")`.

        Raises:
            msgspec.ValidationError: a parameter has the wrong type.
        """
        return _frame(ce.ResponseCreate(response=msgspec.convert(params, ParamsShape) if params else None))

    def cancel(self, response_id: str | None = None) -> str:
        """Stop answering."""
        return _frame(ce.ResponseCancel(response_id=response_id))

    def playback(self, item_id: str, audio_ms: int) -> str:
        """So much of an answer has sounded here."""
        return _frame(ce.Playback(item_id=item_id, audio_ms=audio_ms))

    # In -----------------------------------------------------------------------------------------------------

    def receive(self, frame: str | bytes) -> Event:
        """The event in a frame; a binary frame reads as `AudioDelta`.

        Raises:
            ValueError: it is none, or one that lacks what it must have.
        """
        if isinstance(frame, bytes):
            item_id, output_index, _, data = unpack(frame)
            return ev.AudioDelta(
                response_id=self._answers.get(item_id, ""),
                item_id=item_id,
                output_index=output_index,
                content_index=0,
                delta=data,
            )
        body = msgspec.json.decode(frame, type=dict[str, Any])
        kind = body.get("type")
        if not isinstance(kind, str):
            raise ValueError("a server event without a type")
        if kind not in _KNOWN:
            return Other(kind, body)
        event: Any = msgspec.convert(body, _KNOWN[kind])
        if isinstance(event, ev.OutputItemAdded) and event.item.id:
            self._answers[event.item.id] = event.response_id
        elif isinstance(event, ev.ResponseDone):
            self._answers = {item: of for item, of in self._answers.items() if of != event.response.id}
        return event  # type: ignore[no-any-return]  # one of Known


def _frame(event: ce.ClientEvent) -> str:
    return msgspec.json.encode(event).decode()
