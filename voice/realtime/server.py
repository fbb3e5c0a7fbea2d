"""The server's side of a session: frames in, checked events out; what happened in, frames out. No clock, no I/O."""

from typing import Any, Literal

from msgspec.structs import replace

from voice.history import Item
from voice.realtime import server_events as ev
from voice.realtime.client_events import WIRE_EVENTS, Append, ItemCreate, Request, ResponseCreate, SessionUpdate
from voice.realtime.codec import MAX_AUDIO_BYTES, Format
from voice.realtime.items import show_item
from voice.realtime.reading import parse, read, read_add, read_respond
from voice.realtime.refused import Invalid, Refused
from voice.realtime.response import Frames, Plan, ResponseWriter, encode
from voice.realtime.settings import Session, SessionDefaults, first_session, merge, show_session
from voice.realtime.shapes import Modality, Tokens, new_id

INVALID = "invalid_request_error"


class ServerSide:
    """One session's protocol.

    Args:
        defaults: what the session begins with, and the names it knows.
        transcription: it begins as one that only transcribes.
        extensions: send the `rejoinder.*` events.
        binary: audio travels as binary frames both ways (subprotocol rejoinder.v1).
        media: audio travels on tracks (WebRTC): binary frames both ways are PCM16, whatever formats a client names.

    Attributes:
        media: see above.
        session: the settings in force.
        session_id, conversation_id: as shown to the client.
    """

    def __init__(
        self,
        defaults: SessionDefaults,
        *,
        transcription: bool = False,
        extensions: bool = False,
        binary: bool = False,
        media: bool = False,
    ) -> None:
        self.defaults = defaults
        self.session: Session = first_session(defaults, transcription)
        self.session_id = new_id("sess")
        self.conversation_id = new_id("conv")
        self._extensions = extensions
        self._binary = binary
        self.media = media

    # In -----------------------------------------------------------------------------------------------------

    def receive(self, frame: str | bytes) -> Request:
        """The event in a frame; a binary frame is audio in the session's input format.

        Raises:
            Invalid: it is none, or not a valid one; carries the `error` frame to send.
        """
        raw: dict[str, Any] = {}
        try:
            if isinstance(frame, bytes):
                return self._sound(Append(audio=frame), self._binary or self.media)
            raw = parse(frame)
            event = read(raw)
            match event:
                case Append() if self.media:
                    raise Refused("invalid_event", None, "the caller's audio travels on the track; send it there")
                case Append():
                    return self._sound(event)
                case ItemCreate():
                    return read_add(event)
                case ResponseCreate():
                    asked = read_respond(event, self.defaults)
                    return replace(asked, format=None) if self.media else asked
                case _:
                    return event  # type: ignore[return-value]  # all others are in Request
        except Refused as refused:
            raise self._invalid(refused, raw.get("type"), raw.get("event_id")) from refused

    def _sound(self, event: Append, allowed: bool = True) -> Append:
        if not allowed:
            advice = "send input_audio_buffer.append, or connect with subprotocol rejoinder.v1"
            raise Refused("invalid_event", None, f"binary frames are not expected here; {advice}")
        size, width = len(event.audio), self.session.input_format.width
        if size > MAX_AUDIO_BYTES:
            raise Refused("invalid_value", "audio", f"{size} bytes of audio; at most {MAX_AUDIO_BYTES} in one event")
        if size % width:
            reason = f"{size} bytes are not whole 16-bit samples; send an even number"
            raise Refused("invalid_value", "audio", reason)
        return event

    def update(self, event: SessionUpdate) -> Frames:
        """Apply a `session.update`, all of it or nothing; returns `session.updated`.

        Raises:
            Invalid: a value is not known here.
        """
        try:
            self.begin(merge(self.session, event.session, self.defaults))
        except Refused as refused:
            raise self._invalid(refused, "session.update", event.event_id) from refused
        return self.updated()

    def begin(self, settings: Session) -> None:
        """Put settings into force without a word."""
        same = {"input_format": Format.PCM, "output_format": Format.PCM} if self.media else {}
        self.session = replace(settings, **same)

    def _invalid(self, refused: Refused, kind: Any, event_id: Any) -> Invalid:
        subject = kind if isinstance(kind, str) and kind in WIRE_EVENTS else None
        named = ": ".join(part for part in (subject, refused.param, str(refused)) if part)
        frames = self.error(
            named,
            type=INVALID,
            code=refused.code,
            param=refused.param,
            event_id=event_id if isinstance(event_id, str) and len(event_id) <= 512 else None,
        )
        return Invalid(named, str(frames[0]))

    # Session ------------------------------------------------------------------------------------------------

    def created(self) -> Frames:
        """The first frame of a session."""
        return [encode(ev.Created(session=self._shown()))]

    def updated(self) -> Frames:
        """All settings in force."""
        return [encode(ev.Updated(session=self._shown()))]

    def _shown(self) -> Any:
        return show_session(self.session, self.session_id, self.defaults.expires_at)

    def error(
        self,
        message: str,
        *,
        type: str = "server_error",  # noqa: A002 - the API's name
        code: str | None = None,
        param: str | None = None,
        event_id: str | None = None,
    ) -> Frames:
        """Something went wrong; the session goes on. `type` is "invalid_request_error" for a client's mistake."""
        shape = ev.ErrorShape(type=type, code=code, message=message, param=param, event_id=event_id)
        return [encode(ev.Error(error=shape))]

    # The caller's audio -------------------------------------------------------------------------------------

    def speech_started(self, item_id: str, at: float) -> Frames:
        """The caller speaks since `at` seconds on the session's audio; `item_id` is the item it will become."""
        return [encode(ev.SpeechStarted(audio_start_ms=_ms(at), item_id=item_id))]

    def speech_stopped(self, item_id: str, at: float) -> Frames:
        """The caller fell silent `at` seconds."""
        return [encode(ev.SpeechStopped(audio_end_ms=_ms(at), item_id=item_id))]

    def committed(self, item_id: str, previous: str | None) -> Frames:
        """The buffered audio becomes an item; `item_added` and `item_done` follow."""
        return [encode(ev.Committed(previous_item_id=previous, item_id=item_id))]

    def cleared(self) -> Frames:
        """The buffered audio is forgotten."""
        return [encode(ev.Cleared())]

    def timeout_triggered(self, item_id: str, start: float, end: float) -> Frames:
        """Nobody spoke for the session's idle timeout; seconds on the session's audio."""
        return [encode(ev.TimeoutTriggered(audio_start_ms=_ms(start), audio_end_ms=_ms(end), item_id=item_id))]

    def transcription_delta(self, item_id: str, text: str) -> Frames:
        """More of what the caller says, spaces included; it cannot be taken back."""
        return [encode(ev.TranscriptionDelta(item_id=item_id, delta=text))]

    def transcription_completed(self, item_id: str, text: str, seconds: float) -> Frames:
        """All the caller said in the item, and how much audio that was."""
        usage = ev.DurationUsage(seconds=round(seconds, 3))
        return [encode(ev.TranscriptionCompleted(item_id=item_id, transcript=text, usage=usage))]

    def transcription_failed(self, item_id: str, message: str) -> Frames:
        """The caller's words could not be found out."""
        error = ev.FaultShape(type="server_error", code="transcription_failed", message=message)
        return [encode(ev.TranscriptionFailed(item_id=item_id, error=error))]

    # Items --------------------------------------------------------------------------------------------------

    def item_added(self, item: Item, previous: str | None) -> Frames:
        """The item is in the conversation, behind `previous` (None: first)."""
        return [encode(ev.ItemAdded(previous_item_id=previous, item=show_item(item)))]

    def item_done(self, item: Item, previous: str | None) -> Frames:
        """The item is final."""
        return [encode(ev.ItemDone(previous_item_id=previous, item=show_item(item)))]

    def item_retrieved(self, item: Item, audio: bytes | None = None) -> Frames:
        """The item a client asked for, with its audio in the session's input format where that was kept."""
        return [encode(ev.ItemRetrieved(item=show_item(item, audio=audio)))]

    def item_deleted(self, item_id: str) -> Frames:
        """The item is gone."""
        return [encode(ev.ItemDeleted(item_id=item_id))]

    def item_truncated(self, item_id: str, content_index: int, audio_end_ms: int) -> Frames:
        """The spoken answer was cut to what was heard."""
        return [encode(ev.ItemTruncated(item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms))]

    # Answers ------------------------------------------------------------------------------------------------

    def respond(
        self,
        response_id: str,
        item_id: str,
        *,
        previous: str | None = None,
        voice: str | None = None,
        modality: Modality | None = None,
        format: Format | None = None,  # noqa: A002 - the API's name
        conversation: bool = True,
        metadata: dict[str, str] | None = None,
        max_output_tokens: Tokens | None = None,
    ) -> ResponseWriter:
        """A writer for one answer. None means the session's setting.

        Args:
            response_id, item_id: fresh ids: of the answer, and of the message it may consist of.
            previous: the last item of the conversation, behind which the answer goes.
            conversation: False: out of band; its items are not added to the conversation.
        """
        session = self.session
        return ResponseWriter(
            Plan(
                response_id=response_id,
                item_id=item_id,
                voice=voice or session.voice,
                modality=modality or session.modality,
                format=format or session.output_format,
                conversation_id=self.conversation_id if conversation else None,
                previous=previous,
                metadata=metadata,
                max_output_tokens=max_output_tokens or session.max_output_tokens,
                binary=self._binary,
                media=self.media,
            )
        )

    # Extensions ---------------------------------------------------------------------------------------------

    def tentative(self, item_id: str, text: str) -> Frames:
        """The words after the last delta, which may still change."""
        return self._extension(ev.Tentative(item_id=item_id, text=text))

    def timeline(self, timeline: dict[str, Any]) -> Frames:
        """When what happened in a turn; values fit for JSON."""
        return self._extension(ev.Timeline(timeline=timeline))

    def interjection(self, response_id: str, state: Literal["ducked", "held", "restored"]) -> Frames:
        """A voice over an answer, which is softer now, or waits, or goes on at full volume."""
        return self._extension(ev.Interjection(response_id=response_id, state=state))

    def audio_gap(self, start_ms: int, end_ms: int, reason: str) -> Frames:
        """A stretch of the caller's audio was lost."""
        return self._extension(ev.AudioGap(start_ms=start_ms, end_ms=end_ms, reason=reason))

    def farewell(self, reason: str) -> Frames:
        """Why the server ends the call; only where the end itself cannot tell."""
        return self.error(reason, code="session_ended") if self.media else []

    def degraded(self, part: str, message: str) -> Frames:
        """A part of the service does less than it should."""
        return self._extension(ev.Degraded(part=part, message=message))

    def _extension(self, event: ev.ServerEvent) -> Frames:
        return [encode(event)] if self._extensions else []


def _ms(seconds: float) -> int:
    return max(round(seconds * 1000), 0)
