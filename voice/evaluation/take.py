"""What was seen of one clip as it went through a session. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field

from voice.evaluation.manifest import Clip
from voice.realtime import server_events as ev
from voice.realtime.client import Event

FINAL_JOBS = ("speculative", "final")
"""Priorities of the decodes that give a text for good."""


@dataclass(slots=True)
class Utterance:
    """One item of the caller; times in seconds after the clip's first sample was spoken.

    Attributes:
        shown: what a client displays and from when: (time, text that stays, text that may still change).
        stable: text told so far that stays.
        final: the whole text as told at the end; None while it is not known, or where recognition failed (`fault`).
        known: when the recogniser's last text for all the speech was there, told or not.
        closed: when the utterance was taken to be over.
        ended: where in the clip speech was heard to end.
        seconds: engine seconds of the decode that gave its last text.
    """

    id: str
    shown: list[tuple[float, str, str]] = field(default_factory=list)
    stable: str = ""
    final: str | None = None
    fault: str = ""
    known: float | None = None
    closed: float | None = None
    ended: float | None = None
    seconds: float = 0.0

    @property
    def over(self) -> bool:
        """All has been told about it."""
        return self.final is not None or bool(self.fault)


@dataclass(slots=True)
class Take:
    """One clip under one condition.

    Attributes:
        onset, offset: where speech begins and ends in the clip, seconds.
        pauses: stretches inside the speech without voice, (from, to).
        spent: engine seconds by job.
        finals, retried: final decodes, and how many of them needed a wider window.
        latest: engine seconds of the newest of them.
        broken: why the session ended before the clip did; empty where it did not.
    """

    clip: Clip
    condition: str
    seconds: float
    onset: float | None = None
    offset: float | None = None
    pauses: tuple[tuple[float, float], ...] = ()
    utterances: list[Utterance] = field(default_factory=list)
    spent: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    finals: int = 0
    retried: int = 0
    latest: float = 0.0
    broken: str = ""
    stock: str | None = None
    stock_seconds: float = 0.0

    @property
    def text(self) -> str:
        """All that was heard."""
        return " ".join(one.final for one in self.utterances if one.final)

    @property
    def talking(self) -> float:
        """Seconds from the beginning of speech to its end; the whole clip where that is not known."""
        if self.onset is None or self.offset is None:
            return self.seconds
        return self.offset - self.onset

    @property
    def over(self) -> bool:
        """All utterances so far have been told to the end."""
        return all(one.over for one in self.utterances)

    def told(self, event: Event, at: float, lead: float) -> None:
        """Take the server's next event; `lead` seconds were sent before the clip."""
        match event:
            case ev.SpeechStarted(item_id=name):
                self.utterances.append(Utterance(name))
            case ev.SpeechStopped(item_id=name, audio_end_ms=end):
                self._named(name).ended = end / 1000 - lead
            case ev.Committed(item_id=name):
                self._named(name).closed = at
            case ev.TranscriptionDelta(item_id=name, delta=text):
                self._named(name).stable += text
            case ev.Tentative(item_id=name, text=text):
                one = self._named(name)
                one.shown.append((at, one.stable, text))
            case ev.TranscriptionCompleted(item_id=name, transcript=text):
                self._named(name).final = text
            case ev.TranscriptionFailed(item_id=name, error=error):
                self._named(name).fault = error.message
            case _:
                pass

    def heard(self, number: int, at: float) -> None:
        """The recogniser has given its text for all speech of the n-th utterance so far."""
        if number < len(self.utterances):
            self.utterances[number].known, self.utterances[number].seconds = at, self.latest

    def _named(self, name: str) -> Utterance:
        for one in self.utterances:
            if one.id == name:
                return one
        self.utterances.append(Utterance(name))
        return self.utterances[-1]
