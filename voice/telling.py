"""Tells the client what became of the conversation, in the order in which it happened."""

import logging

from voice import commands
from voice.agreement import delta
from voice.answering import Outbox
from voice.captions import Publisher
from voice.ledger import BUSY, CROWDED
from voice.realtime.server import ServerSide

_log = logging.getLogger(__name__)

Told = (
    commands.Opened
    | commands.Shown
    | commands.Closed
    | commands.Dropped
    | commands.Idle
    | commands.Transcribed
    | commands.Added
    | commands.Deleted
    | commands.Truncated
)


class Telling:
    """One client.

    Args:
        transcripts: write what is said into the log.
        captions: what is said is published there.
    """

    def __init__(
        self, protocol: ServerSide, outbox: Outbox, *, transcripts: bool, captions: Publisher | None = None
    ) -> None:
        self._captions = captions
        self._protocol = protocol
        self._outbox = outbox
        self._transcripts = transcripts
        self._shown: dict[str, str] = {}  # transcript sent of the items not yet transcribed
        self._lengths: dict[str, float] = {}  # seconds of audio of the same items
        self._crowded = False

    def tell(self, command: Told, held: float = 0.0) -> None:
        """Tell what a command of the dialog says; `held` is the seconds of audio of an utterance that is closed."""
        protocol = self._protocol
        if self._captions:
            self._captions.tell(command)
        match command:
            case commands.Opened(item_id, at):
                frames = protocol.speech_started(item_id, at)
            case commands.Shown(item_id, transcript):
                return self._show(item_id, transcript.stable, transcript.tentative, transcript.final)
            case commands.Closed(item, previous, at, detected):
                self._lengths[item.id] = held
                frames = protocol.speech_stopped(item.id, at) if detected else []
                frames += protocol.committed(item.id, previous)
                frames += protocol.item_added(item, previous) + protocol.item_done(item, previous)
            case commands.Dropped():
                frames = protocol.cleared()
            case commands.Idle(item, previous, start, end):
                frames = protocol.timeout_triggered(item.id, start, end) + protocol.committed(item.id, previous)
                frames += protocol.item_added(item, previous) + protocol.item_done(item, previous)
            case commands.Transcribed(item_id, text, fault):
                return self._transcribed(item_id, text, fault)
            case commands.Added(item, previous):
                frames = protocol.item_added(item, previous) + protocol.item_done(item, previous)
            case commands.Deleted(item_id):
                frames = protocol.item_deleted(item_id)
            case commands.Truncated(item_id, seconds):
                frames = protocol.item_truncated(item_id, 0, round(seconds * 1000))
        return self._outbox.tell(frames)

    def load(self, load: float) -> None:
        """Tell, once, when the service becomes too busy to be as quick as usual.

        Args:
            load: see `Engines.load`.
        """
        if load >= CROWDED and not self._crowded:
            self._outbox.tell(self._protocol.degraded("server", "The server is busy: words and answers come later."))
        self._crowded = load >= (BUSY if self._crowded else CROWDED)

    def _show(self, item_id: str, stable: str, tentative: str, final: bool) -> None:
        """Transcript events only ever add words. A final text is told when the utterance is closed; until then its end
        may still change."""
        if self._protocol.session.transcription is None:
            return
        shown = self._shown.get(item_id)
        if shown is None and not (stable or tentative):
            return
        more = delta(shown or "", stable)
        if final:
            stable, tentative = shown or "", more.strip()
        elif more:
            self._outbox.tell(self._protocol.transcription_delta(item_id, more))
        self._shown[item_id] = stable
        self._outbox.tell(self._protocol.tentative(item_id, tentative))

    def _transcribed(self, item_id: str, text: str, fault: str) -> None:
        shown, seconds = self._shown.pop(item_id, ""), self._lengths.pop(item_id)
        if self._transcripts:
            _log.info("caller", extra={"session": self._protocol.session_id, "transcript": text})
        if self._protocol.session.transcription is None:
            return
        if fault:
            self._outbox.tell(self._protocol.transcription_failed(item_id, fault))
            return
        if more := delta(shown, text):
            self._outbox.tell(self._protocol.transcription_delta(item_id, more))
        self._outbox.tell(self._protocol.transcription_completed(item_id, text, seconds))
