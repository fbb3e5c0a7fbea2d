"""Events a server sends, for both roles."""

from typing import Any, Literal, get_args

from msgspec import UNSET, Struct, UnsetType, field

from voice.realtime.shapes import AnyItem, ResponseShape, SessionShape, Shape, new_id

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


class ServerEvent(Struct, kw_only=True, tag_field="type", frozen=True):
    """Base: every event has an id of its own."""

    event_id: str = field(default_factory=lambda: new_id("event"))


class Created(ServerEvent, tag="session.created", frozen=True):
    """The first event of a session."""

    session: SessionShape


class Updated(ServerEvent, tag="session.updated", frozen=True):
    """All settings, after an update."""

    session: SessionShape


class FaultShape(Shape, kw_only=True):
    """Why a transcript failed."""

    type: str
    code: str | UnsetType | None = UNSET
    message: str


class ErrorShape(Shape, kw_only=True):
    """What went wrong, where in the client's event, and which event (its `event_id`) asked for it."""

    type: str
    code: str | None = None
    message: str
    param: str | None = None
    event_id: str | None = None


class Error(ServerEvent, tag="error", frozen=True):
    """Something went wrong; the session goes on."""

    error: ErrorShape


# The caller's audio -----------------------------------------------------------------------------------------


class SpeechStarted(ServerEvent, tag="input_audio_buffer.speech_started", frozen=True):
    """The caller begins to speak; milliseconds since the session's first sample."""

    audio_start_ms: int
    item_id: str


class SpeechStopped(ServerEvent, tag="input_audio_buffer.speech_stopped", frozen=True):
    """The caller fell silent."""

    audio_end_ms: int
    item_id: str


class Committed(ServerEvent, tag="input_audio_buffer.committed", frozen=True):
    """The buffered audio became an item."""

    previous_item_id: str | None
    item_id: str


class Cleared(ServerEvent, tag="input_audio_buffer.cleared", frozen=True):
    """The buffered audio is forgotten."""


class TimeoutTriggered(ServerEvent, tag="input_audio_buffer.timeout_triggered", frozen=True):
    """The caller said nothing for `idle_timeout_ms`."""

    audio_start_ms: int
    audio_end_ms: int
    item_id: str


# Items ------------------------------------------------------------------------------------------------------


class ItemAdded(ServerEvent, tag="conversation.item.added", frozen=True):
    """An item is in the conversation, perhaps still without content."""

    previous_item_id: str | None
    item: AnyItem


class ItemDone(ServerEvent, tag="conversation.item.done", frozen=True):
    """An item is final."""

    previous_item_id: str | None
    item: AnyItem


class ItemRetrieved(ServerEvent, tag="conversation.item.retrieved", frozen=True):
    """The item asked for."""

    item: AnyItem


class ItemDeleted(ServerEvent, tag="conversation.item.deleted", frozen=True):
    """The item is gone."""

    item_id: str


class ItemTruncated(ServerEvent, tag="conversation.item.truncated", frozen=True):
    """The spoken answer was cut."""

    item_id: str
    content_index: int
    audio_end_ms: int


class TranscriptionDelta(ServerEvent, tag=f"{_TRANSCRIPTION}.delta", frozen=True, kw_only=True):
    """More of what the caller says; never taken back."""

    item_id: str
    content_index: int = 0
    delta: str


class DurationUsage(Struct, tag="duration", tag_field="type"):
    """Audio transcribed."""

    seconds: float


class TranscriptionCompleted(ServerEvent, tag=f"{_TRANSCRIPTION}.completed", frozen=True, kw_only=True):
    """All the caller said in this item."""

    item_id: str
    content_index: int = 0
    transcript: str
    usage: DurationUsage


class TranscriptionFailed(ServerEvent, tag=f"{_TRANSCRIPTION}.failed", frozen=True, kw_only=True):
    """The caller's words could not be found out."""

    item_id: str
    content_index: int = 0
    error: FaultShape


# Responses --------------------------------------------------------------------------------------------------


class ResponseCreated(ServerEvent, tag="response.created", frozen=True):
    """An answer begins."""

    response: ResponseShape


class ResponseDone(ServerEvent, tag="response.done", frozen=True):
    """An answer is over, however it ended."""

    response: ResponseShape


class OutputItemAdded(ServerEvent, tag="response.output_item.added", frozen=True):
    """The answer has a new item."""

    response_id: str
    output_index: int
    item: AnyItem


class OutputItemDone(ServerEvent, tag="response.output_item.done", frozen=True):
    """An item of the answer is final."""

    response_id: str
    output_index: int
    item: AnyItem


class ContentEvent(ServerEvent, frozen=True):
    """Base of the events about an answer's one content part."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int


class PartShape(Shape):
    """A content part of an answer."""

    type: Literal["audio", "text"]
    text: str | UnsetType = UNSET
    transcript: str | UnsetType = UNSET


class PartAdded(ContentEvent, tag="response.content_part.added", frozen=True):
    """The item gets content."""

    part: PartShape


class PartDone(ContentEvent, tag="response.content_part.done", frozen=True):
    """The content is final."""

    part: PartShape


class TextDelta(ContentEvent, tag="response.output_text.delta", frozen=True):
    """More text of a written answer."""

    delta: str


class TextDone(ContentEvent, tag="response.output_text.done", frozen=True):
    """All the text."""

    text: str


class TranscriptDelta(ContentEvent, tag="response.output_audio_transcript.delta", frozen=True):
    """More words of a spoken answer."""

    delta: str


class TranscriptDone(ContentEvent, tag="response.output_audio_transcript.done", frozen=True):
    """All the words; of a cut answer those that were heard."""

    transcript: str


class AudioDelta(ContentEvent, tag="response.output_audio.delta", frozen=True):
    """More sound, in the response's output format; base64 on the wire."""

    delta: bytes


class AudioDone(ContentEvent, tag="response.output_audio.done", frozen=True):
    """No more sound."""


class ArgumentsDelta(ServerEvent, tag="response.function_call_arguments.delta", frozen=True):
    """More of a function call's arguments."""

    response_id: str
    item_id: str
    output_index: int
    call_id: str
    delta: str


class ArgumentsDone(ServerEvent, tag="response.function_call_arguments.done", frozen=True):
    """All of a function call's arguments."""

    response_id: str
    item_id: str
    output_index: int
    call_id: str
    name: str
    arguments: str


class OutputStarted(ServerEvent, tag="output_audio_buffer.started", frozen=True):
    """The answer begins to sound; WebRTC only."""

    response_id: str


class OutputStopped(ServerEvent, tag="output_audio_buffer.stopped", frozen=True):
    """The answer has sounded; WebRTC only."""

    response_id: str


class OutputCleared(ServerEvent, tag="output_audio_buffer.cleared", frozen=True):
    """The answer was cut; WebRTC only."""

    response_id: str


# Our own, for clients that ask (`extensions=1`) ---------------------------------------------------------------


class Tentative(ServerEvent, tag="rejoinder.transcript.tentative", frozen=True, kw_only=True):
    """Words after the last delta that may still change; each one replaces the one before."""

    item_id: str
    content_index: int = 0
    text: str


class Timeline(ServerEvent, tag="rejoinder.turn.timeline", frozen=True):
    """When what happened in a turn."""

    timeline: dict[str, Any]


class Interjection(ServerEvent, tag="rejoinder.interjection", frozen=True):
    """The caller's voice over an answer: it is made softer ("ducked") or waits ("held") until it is known what that
    means, and then goes on ("restored") or ends with `input_audio_buffer.speech_started`."""

    response_id: str
    state: Literal["ducked", "held", "restored"]


class AudioGap(ServerEvent, tag="rejoinder.audio_gap", frozen=True):
    """A stretch of the caller's audio that was lost and counts as silence."""

    start_ms: int
    end_ms: int
    reason: str


class Degraded(ServerEvent, tag="rejoinder.degraded", frozen=True):
    """A part of the service does less than it should."""

    part: str
    message: str


Known = (
    Created
    | Updated
    | Error
    | SpeechStarted
    | SpeechStopped
    | Committed
    | Cleared
    | TimeoutTriggered
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | TranscriptionDelta
    | TranscriptionCompleted
    | TranscriptionFailed
    | ResponseCreated
    | ResponseDone
    | OutputItemAdded
    | OutputItemDone
    | PartAdded
    | PartDone
    | TextDelta
    | TextDone
    | TranscriptDelta
    | TranscriptDone
    | AudioDelta
    | AudioDone
    | ArgumentsDelta
    | ArgumentsDone
    | OutputStarted
    | OutputStopped
    | OutputCleared
    | Tentative
    | Timeline
    | Interjection
    | AudioGap
    | Degraded
)

KNOWN: tuple[type[ServerEvent], ...] = get_args(Known)
