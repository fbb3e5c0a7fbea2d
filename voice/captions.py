"""Live captions of one room, fed by one publisher and read by many.

What a reader sees is a list of cues and a tail. Committed text only ever grows: the last cue may become longer, or
done; then the next one begins. The tail holds the words that may still change. A reader is a number, the version it has
seen, and is told what became of everything since: one that is slow skips what lies between and holds nothing up.
"""

import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import anyio
import msgspec

from voice import commands
from voice.agreement import delta
from voice.config import CaptionsConfig
from voice.events import Transcript, Word
from voice.subtitles import Cue, block, complete, cue, fits, written

FileFormat = Literal["txt", "srt", "vtt"]
Emit = Callable[[bytes], Awaitable[None]]

HEARTBEAT = 15.0
"""Seconds of quiet after which a reader is sent something empty, so that nobody on the way takes the line for dead."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A cue of a room.

    Attributes:
        number: 1 for the room's first.
        done: its text and times stay as they are.
        version: of the room when the cue last changed.
        data: what readers are told of it, JSON.
    """

    number: int
    cue: Cue
    done: bool
    version: int
    data: msgspec.Raw


class Room:
    """What is shown under one name.

    Args:
        now: loop time, at which the room's clock begins.

    Attributes:
        version: counts changes.
        live: somebody publishes.
        language: of the newest words, ISO 639-1 code.
        position: end of the last committed word in seconds on the room's clock.
    """

    def __init__(self, name: str, config: CaptionsConfig, now: float) -> None:
        self.name = name
        self.began = now
        self.version = 0
        self.live = False
        self.language = ""
        self.position = 0.0
        self._config = config
        self._epoch = secrets.token_hex(4)
        self._ends = now + config.linger_seconds
        self._cues: deque[Shown] = deque(maxlen=config.kept_cues)
        self._words: list[Word] = []  # of the cue that is not done
        self._tentative = ""
        self._told: dict[int, bytes] = {}  # `since` by version, until the next change
        self._changed = anyio.Event()

    # Publishing -------------------------------------------------------------------------------------------------

    def update(self, words: Sequence[Word] = (), tentative: str = "", *, pause: bool = False) -> None:
        """Commit words, and replace the tail.

        Args:
            words: in order, times on the room's clock; where they go back behind `position` they are moved up.
            tentative: all words that may still change.
            pause: the last word ends its cue.
        """
        if not (words or tentative != self._tentative or (pause and self._words)):
            return
        self.version += 1
        self._tentative = tentative
        for word in words:
            start = max(word.start, self.position)
            word = replace(word, start=start, end=max(word.end, start))
            self.position = word.end
            if self._words and not fits(self._words, word):
                self._show(done=True)
            self._words.append(word)
        if self._words:
            self._show(done=pause or complete(self._words))
        self._wake()

    def _show(self, *, done: bool) -> None:
        """Bring the last cue up to date."""
        shown, last = cue(self._words), self._cues[-1] if self._cues else None
        number = last.number + last.done if last else 1
        if last and not last.done:
            self._cues.pop()
        about = {"id": number, "start": round(shown.start, 3), "end": round(shown.end, 3), "text": shown.text}
        data = msgspec.Raw(msgspec.json.encode(about | {"done": done}))
        self._cues.append(Shown(number, shown, done, self.version, data))
        if done:
            self._words = []

    def begin(self) -> None:
        """Somebody publishes from now on."""
        self.live = True
        self.version += 1
        self._wake()

    def leave(self, now: float) -> None:
        """The publisher is gone; the room stays for `linger_seconds` unless another comes."""
        self.update(pause=True)
        self.live = False
        self._ends = now + self._config.linger_seconds
        self.version += 1
        self._wake()

    def close(self, now: float) -> None:
        """The room is over now."""
        self.leave(now)
        self._ends = now

    def _wake(self) -> None:
        self._told.clear()
        self._changed.set()
        self._changed = anyio.Event()

    # Reading ----------------------------------------------------------------------------------------------------

    def over(self, now: float) -> bool:
        """Whether nothing more will come."""
        return not self.live and now >= self._ends

    def mark(self, version: int) -> str:
        """A version as readers name it when they come back."""
        return f"{self._epoch}-{version}"

    def version_of(self, mark: str) -> int:
        """The version a reader has seen; 0 where the mark is none of this room's."""
        epoch, _, number = mark.partition("-")
        known = epoch == self._epoch and number.isdecimal() and len(number) < 16
        return int(number) if known and int(number) <= self.version else 0

    def since(self, version: int) -> bytes:
        """The state as a server-sent event, for a reader that has seen `version`; all who have share the bytes.

        Cues that changed since then, bounded by `backlog_cues` and `backlog_seconds`.
        """
        told = self._told.get(version)
        if told is None:
            body = {
                "cues": [shown.data for shown in self._after(lambda shown: shown.version > version)],
                "tentative": self._tentative,
                "language": self.language,
                "live": self.live,
            }
            told = b"id: %s\ndata: %s\n\n" % (self.mark(self.version).encode(), msgspec.json.encode(body))
            self._told[version] = told
        return told

    def finished(self, number: int) -> list[Shown]:
        """Cues after that number that stay as they are, bounded like `since`."""
        return [shown for shown in self._after(lambda shown: shown.number > number) if shown.done]

    def _after(self, wanted: Callable[[Shown], bool]) -> list[Shown]:
        """The newest cues in a row that are wanted, oldest first."""
        oldest = self.position - self._config.backlog_seconds
        found: list[Shown] = []
        for shown in reversed(self._cues):
            if not wanted(shown) or shown.cue.end < oldest or len(found) == self._config.backlog_cues:
                break
            found.append(shown)
        return found[::-1]

    async def change(self, seconds: float) -> bool:
        """Wait for the next change or the room's end, at most so long; whether one came."""
        changed = self._changed
        if not self.live:
            seconds = min(seconds, max(0.0, self._ends - anyio.current_time()))
        with anyio.move_on_after(seconds):
            await changed.wait()
        return changed.is_set()

    def file(self, kind: FileFormat) -> str:
        """The committed text as a file, with a line break at its end."""
        cues = [shown.cue for shown in self._cues]
        if kind == "txt":
            return "".join(f"{each.text}\n" for each in cues)
        return written(cues, kind)


async def write_events(room: Room, seen: str, emit: Emit) -> None:
    """Tell a reader what changed since it was last told, as often as it can take it, until the room is over."""
    version = room.version_of(seen)
    while True:
        if room.version > version:
            told, version = room.since(version), room.version
            await emit(told)
        elif room.over(anyio.current_time()):
            return await emit(b"event: end\ndata: {}\n\n")
        elif not await room.change(HEARTBEAT):
            await emit(b":\n\n")


async def write_vtt(room: Room, stamp: str, emit: Emit, quiet: float = HEARTBEAT) -> None:
    """Send cues as WebVTT as they are done, until the room is over.

    Args:
        stamp: ticks of a stream's clock of 90 kHz at the room's zero; empty: none is known.
        quiet: seconds after which something empty is sent.
    """
    stamp = f"X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:{stamp}\n" if stamp else ""
    await emit(f"WEBVTT\n{stamp}\n".encode())
    number, version = 0, 0
    while True:
        if room.version > version:
            version = room.version
            if cues := room.finished(number):
                number = cues[-1].number
                await emit("".join(f"{block(shown.cue, 'vtt')}\n" for shown in cues).encode())
        elif room.over(anyio.current_time()):
            return
        elif not await room.change(quiet):
            await emit(b"NOTE\n\n")


@dataclass(slots=True)
class _Utterance:
    """What is being said.

    Attributes:
        upto: where it began, then end of the last committed word; stream seconds.
        ended: stream seconds; None while it is open.
        words: all known, in stream seconds; the first of them are committed.
    """

    upto: float
    ended: float | None = None
    words: tuple[Word, ...] = ()
    committed: str = ""
    tentative: str = ""


class Publisher:
    """Puts what a session tells of its caller into a room.

    Args:
        offset: of the caller's stream on the room's clock, seconds.
    """

    def __init__(self, room: Room, offset: float = 0.0) -> None:
        self._room = room
        self._offset = offset
        self._open: dict[str, _Utterance] = {}

    def tell(self, command: commands.Command) -> None:
        """Take what the dialog tells; what is not about the caller's words is left alone."""
        match command:
            case commands.Opened(item_id, at):
                self._open[item_id] = _Utterance(at)
            case commands.Shown(item_id, transcript):
                self._shown(self._open.setdefault(item_id, _Utterance(transcript.upto)), transcript)
            case commands.Closed(item, _, at, _):
                self._open.setdefault(item.id, _Utterance(at)).ended = at
            case commands.Dropped():
                self._open = {item_id: said for item_id, said in self._open.items() if said.ended is not None}
                self._update(())
            case commands.Transcribed(item_id, text, _) if item_id in self._open:
                self._transcribed(item_id, self._open[item_id], text)

    def _shown(self, said: _Utterance, transcript: Transcript) -> None:
        """A final text may still go on while the utterance is open, so it is committed by `Transcribed` only."""
        said.words = transcript.words
        self._room.language = transcript.language
        stable = said.committed if transcript.final else transcript.stable
        fresh = self._commit(said, stable)
        said.tentative = delta(said.committed, transcript.text).strip()
        self._update(fresh)

    def _transcribed(self, item_id: str, said: _Utterance, text: str) -> None:
        fresh = self._commit(said, text)
        del self._open[item_id]
        self._update(fresh, pause=True)

    def _commit(self, said: _Utterance, text: str) -> list[Word]:
        """The words by which `text` is longer than what is committed, with times on the room's clock."""
        more = delta(said.committed, text).split()
        if not more:
            return []
        first = len(said.committed.split())
        known = said.words[first : first + len(more)]
        times = [(word.start, word.end) for word in known]
        since, missing = times[-1][1] if times else said.upto, len(more) - len(times)
        step = max(0.0, (said.ended or since) - since) / max(1, missing)
        times += [(since + n * step, since + (n + 1) * step) for n in range(missing)]
        said.committed = f"{said.committed} {' '.join(more)}".strip()
        said.upto = times[-1][1]
        return [
            Word(word, start + self._offset, end + self._offset) for word, (start, end) in zip(more, times, strict=True)
        ]

    def _update(self, fresh: Sequence[Word], *, pause: bool = False) -> None:
        tentative = " ".join(said.tentative for said in self._open.values() if said.tentative)
        self._room.update(fresh, tentative, pause=pause)
