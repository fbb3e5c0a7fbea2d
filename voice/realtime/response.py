"""One answer on the wire: its events, in the API's order."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET

from streams.audio import Samples
from voice.events import ToolCall, Usage
from voice.history import Item
from voice.realtime import server_events as ev
from voice.realtime.codec import AudioFrame, Format, pack
from voice.realtime.items import show_item
from voice.realtime.settings import show_format
from voice.realtime.shapes import (
    AnyItem,
    FailureShape,
    InputTokenDetails,
    MessageShape,
    Modality,
    Reason,
    ResponseAudioShape,
    ResponseShape,
    ResponseStatus,
    SpokenShape,
    StatusShape,
    TokenDetails,
    Tokens,
    UsageShape,
    new_id,
)

Frames = list[str | bytes]
End = Literal["completed", "cancelled", "failed", "incomplete"]

AUDIO_TOKENS_A_SECOND = 20
"""Spoken answers count one audio token per 50 ms, as the API does."""


def encode(event: ev.ServerEvent) -> str:
    """The event as a text frame."""
    return msgspec.json.encode(event).decode()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer is to be.

    Attributes:
        conversation_id: None: out of band, its items are in no conversation.
        previous: the item its first item follows.
        binary: audio travels as binary frames (subprotocol rejoinder.v1).
        media: audio travels on a track (WebRTC): its frames are plain PCM16, and events tell when it sounds.
    """

    response_id: str
    item_id: str
    voice: str
    modality: Modality
    format: Format
    conversation_id: str | None
    previous: str | None
    metadata: dict[str, str] | None
    max_output_tokens: Tokens
    binary: bool
    media: bool


class ResponseWriter:
    """Writes one answer. Each method returns the frames to send, `created` first and `done` last.

    The message item opens with the first `text`, `say` or `audio`; without any, there is no message item. What
    comes after a function call is another message.

    Attributes:
        item_id: of the open message, or of the next one.
        previous: the item the next one of this answer follows; set it when the conversation grew meanwhile.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.item_id = plan.item_id
        self.previous = plan.previous
        self._text = ""
        self._offset = 0
        self._samples = 0
        self._output: list[AnyItem] = []
        self._open = False
        self._sounds = False  # on a track

    def created(self) -> Frames:
        """The answer begins."""
        return [encode(ev.ResponseCreated(response=self._shape("in_progress")))]

    def text(self, delta: str) -> Frames:
        """More of a written answer."""
        frames = self._opened()
        self._text += delta
        return [*frames, encode(ev.TextDelta(**self._place(), delta=delta))]

    def say(self, delta: str) -> Frames:
        """More of the words of a spoken answer."""
        frames = self._opened()
        self._text += delta
        return [*frames, encode(ev.TranscriptDelta(**self._place(), delta=delta))]

    def audio(self, samples: Samples) -> Frames:
        """More of the sound of a spoken answer: samples at the output format's rate. It is in the last frame."""
        frames = self._opened()
        offset, self._offset = self._offset, self._offset + len(samples)
        self._samples += len(samples)
        if not len(samples):
            return frames
        data = self.plan.format.encode(samples)
        if self.plan.media:
            started = [] if self._sounds else [encode(ev.OutputStarted(response_id=self.plan.response_id))]
            self._sounds = True
            return [*frames, *started, data]
        if self.plan.binary:
            return [*frames, pack(AudioFrame(self.item_id, len(self._output), offset, data))]
        return [*frames, encode(ev.AudioDelta(**self._place(), delta=data))]

    def tool_call(self, call: ToolCall, item_id: str) -> Frames:
        """A function call, whole; closes the message before it."""
        frames = self._closed("completed", self._text)
        item = Item(item_id, "function_call", "assistant", call.arguments, call_id=call.call_id, name=call.name)
        bare = Item(item_id, "function_call", "assistant", call_id=call.call_id, name=call.name)
        place: dict[str, Any] = {
            "response_id": self.plan.response_id,
            "item_id": item_id,
            "output_index": len(self._output),
            "call_id": call.call_id,
        }
        return [
            *frames,
            *self._added(show_item(bare, "in_progress")),
            encode(ev.ArgumentsDelta(**place, delta=call.arguments)),
            encode(ev.ArgumentsDone(**place, name=call.name, arguments=call.arguments)),
            *self._done_item(show_item(item)),
        ]

    def done(
        self,
        status: End = "completed",
        *,
        reason: Reason | None = None,
        usage: Usage | None = None,
        fault: str = "",
        heard: str | None = None,
    ) -> Frames:
        """The answer is over.

        Args:
            status: how it ended; `reason` says why it was cancelled or is incomplete.
            usage: what the model counted; None leaves the usage out.
            fault: why it failed, in words fit for the client.
            heard: of a cut answer the words that sounded; None: all that was sent.
        """
        frames = self._closed(status, self._text if heard is None else heard)
        if self._sounds and status == "cancelled":
            frames.insert(0, encode(ev.OutputCleared(response_id=self.plan.response_id)))
        shape = self._shape(status)
        shape.output = self._output
        shape.usage = self._usage(usage) if usage else None
        if status != "completed":
            error = FailureShape(type="server_error", code="server_error", message=fault) if fault else UNSET
            shape.status_details = StatusShape(type=status, reason=reason or UNSET, error=error)
        frames.append(encode(ev.ResponseDone(response=shape)))
        if self._sounds and status != "cancelled":
            frames.append(encode(ev.OutputStopped(response_id=self.plan.response_id)))
        return frames

    # Parts --------------------------------------------------------------------------------------------------

    def _place(self) -> dict[str, Any]:
        return {
            "response_id": self.plan.response_id,
            "item_id": self.item_id,
            "output_index": len(self._output),
            "content_index": 0,
        }

    def _part(self, text: str) -> ev.PartShape:
        if self.plan.modality == "audio":
            return ev.PartShape(type="audio", transcript=text)
        return ev.PartShape(type="text", text=text)

    def _opened(self) -> Frames:
        if self._open:
            return []
        self._open = True
        item = MessageShape(id=self.item_id, object="realtime.item", status="in_progress", role="assistant", content=[])
        return [*self._added(item), encode(ev.PartAdded(**self._place(), part=self._part("")))]

    def _closed(self, status: End, text: str) -> Frames:
        if not self._open:
            return []
        self._open = False
        place = self._place()
        spoken = self.plan.modality == "audio"
        ends: list[ev.ServerEvent] = [ev.TextDone(**place, text=text)]
        if spoken:
            ends = [ev.AudioDone(**place), ev.TranscriptDone(**place, transcript=text)]
        ends.append(ev.PartDone(**place, part=self._part(text)))
        item = Item(self.item_id, role="assistant", text=text, audio=spoken, complete=status == "completed")
        self.item_id, self._text, self._offset = new_id("item"), "", 0
        return [*map(encode, ends), *self._done_item(show_item(item))]

    def _added(self, item: AnyItem) -> Frames:
        frames: Frames = [
            encode(ev.OutputItemAdded(response_id=self.plan.response_id, output_index=len(self._output), item=item))
        ]
        if self.plan.conversation_id is not None:
            frames.append(encode(ev.ItemAdded(previous_item_id=self.previous, item=item)))
        return frames

    def _done_item(self, item: AnyItem) -> Frames:
        frames: Frames = []
        if self.plan.conversation_id is not None:
            frames.append(encode(ev.ItemDone(previous_item_id=self.previous, item=item)))
        frames.append(
            encode(ev.OutputItemDone(response_id=self.plan.response_id, output_index=len(self._output), item=item))
        )
        self.previous = item.id or None
        self._output.append(item)
        return frames

    def _shape(self, status: ResponseStatus) -> ResponseShape:
        plan = self.plan
        return ResponseShape(
            id=plan.response_id,
            status=status,
            conversation_id=plan.conversation_id,
            output_modalities=[plan.modality],
            max_output_tokens=plan.max_output_tokens,
            audio=ResponseAudioShape(output=SpokenShape(format=show_format(plan.format), voice=plan.voice)),
            metadata=plan.metadata,
        )

    def _usage(self, usage: Usage) -> UsageShape:
        audio = round(self._samples / self.plan.format.rate * AUDIO_TOKENS_A_SECOND)
        output = usage.completion + audio
        return UsageShape(
            total_tokens=usage.prompt + output,
            input_tokens=usage.prompt,
            output_tokens=output,
            input_token_details=InputTokenDetails(
                text_tokens=usage.prompt,
                cached_tokens=usage.cached,
                cached_tokens_details=TokenDetails(text_tokens=usage.cached),
            ),
            output_token_details=TokenDetails(text_tokens=usage.completion, audio_tokens=audio),
        )
