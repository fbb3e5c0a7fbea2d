"""What a client has seen of a conversation, put together from the server's events."""

from dataclasses import dataclass, field

import numpy as np

from streams.audio import Audio, Samples
from voice.events import ToolCall
from voice.realtime import server_events as ev
from voice.realtime.client import Event
from voice.realtime.codec import Format
from voice.realtime.shapes import CallShape, Reason, ResponseShape, ResponseStatus, UsageShape


@dataclass(slots=True)
class Reply:
    """One answer.

    Attributes:
        text: the words of a spoken answer or the text of a written one: as far as they have come; when the part is
            done, the words that count (of a cut answer those that were heard).
        pieces: its sound, as it came.
        status, reason, error, usage: as `response.done` says; "in_progress" before.
    """

    id: str
    format: Format = Format.PCM
    text: str = ""
    pieces: list[Samples] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    metadata: dict[str, str] | None = None
    status: ResponseStatus = "in_progress"
    reason: Reason | None = None
    error: str = ""
    usage: UsageShape | None = None

    @property
    def audio(self) -> Audio:
        """All its sound so far."""
        return Audio(np.concatenate([np.zeros(0, np.int16), *self.pieces]), self.format.rate)


@dataclass(slots=True)
class Utterance:
    """One item the caller spoke.

    Attributes:
        text: the deltas so far.
        transcript: all of it, once known; None before, or when it failed (`error`).
        started_ms, stopped_ms: on the session's audio; None where the server did not say.
    """

    id: str
    text: str = ""
    transcript: str | None = None
    error: str = ""
    started_ms: int | None = None
    stopped_ms: int | None = None
    committed: bool = False


@dataclass(slots=True)
class Conversation:
    """Replies by response id, utterances by item id, in the order they began; errors as they came."""

    replies: dict[str, Reply] = field(default_factory=dict)
    utterances: dict[str, Utterance] = field(default_factory=dict)
    errors: list[ev.ErrorShape] = field(default_factory=list)

    def apply(self, event: Event) -> None:
        """Take in the next event."""
        match event:
            case ev.Error():
                self.errors.append(event.error)
            case ev.ResponseCreated() | ev.ResponseDone():
                _settle(self._reply(event.response.id), event.response)
            case (
                ev.OutputItemAdded()
                | ev.AudioDelta()
                | ev.TextDelta()
                | ev.TranscriptDelta()
                | ev.TextDone()
                | ev.TranscriptDone()
            ):
                _grow(self._reply(event.response_id), event)
            case (
                ev.SpeechStarted()
                | ev.SpeechStopped()
                | ev.Committed()
                | ev.TranscriptionDelta()
                | ev.TranscriptionCompleted()
                | ev.TranscriptionFailed()
            ):
                _hear(self.utterances.setdefault(event.item_id, Utterance(event.item_id)), event)
            case _:
                pass

    def _reply(self, response_id: str) -> Reply:
        return self.replies.setdefault(response_id, Reply(response_id))


def _settle(reply: Reply, shape: ResponseShape) -> None:
    reply.status = shape.status
    reply.metadata = shape.metadata
    reply.usage = shape.usage
    if shape.audio and shape.audio.output and shape.audio.output.format:
        reply.format = Format(shape.audio.output.format.type)
    if shape.status_details:
        reply.reason = shape.status_details.reason or None
        error = shape.status_details.error
        reply.error = (error.message or error.code) if error else ""
    reply.calls = [ToolCall(call.call_id or "", call.name, call.arguments) for call in _calls(shape)]


def _calls(shape: ResponseShape) -> list[CallShape]:
    return [item for item in shape.output if isinstance(item, CallShape)]


def _grow(
    reply: Reply,
    event: ev.OutputItemAdded | ev.AudioDelta | ev.TextDelta | ev.TranscriptDelta | ev.TextDone | ev.TranscriptDone,
) -> None:
    match event:
        case ev.OutputItemAdded():
            reply.items.append(event.item.id or "")
        case ev.AudioDelta():
            reply.pieces.append(reply.format.decode(event.delta))
        case ev.TextDelta() | ev.TranscriptDelta():
            reply.text += event.delta
        case ev.TextDone():
            reply.text = event.text
        case ev.TranscriptDone():
            reply.text = event.transcript


def _hear(
    said: Utterance,
    event: ev.SpeechStarted
    | ev.SpeechStopped
    | ev.Committed
    | ev.TranscriptionDelta
    | ev.TranscriptionCompleted
    | ev.TranscriptionFailed,
) -> None:
    match event:
        case ev.SpeechStarted():
            said.started_ms = event.audio_start_ms
        case ev.SpeechStopped():
            said.stopped_ms = event.audio_end_ms
        case ev.Committed():
            said.committed = True
        case ev.TranscriptionDelta():
            said.text += event.delta
        case ev.TranscriptionCompleted():
            said.transcript = event.transcript
        case ev.TranscriptionFailed():
            said.error = event.error.message
