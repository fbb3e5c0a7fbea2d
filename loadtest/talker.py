"""One of many simulated talkers: says recordings without end and takes the times of its captions."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from loadtest.bench import clips
from streams.audio import resample, silence
from voice.realtime import server_events as ev
from voice.realtime.client import ClientSide

RATE = 24_000
FRAME = RATE // 50
PAUSE = 1.0
DETECTION = {"type": "server_vad", "silence_duration_ms": 200}
KEEPS_UP = 0.25
"""Seconds by which the median lag of the last third may exceed that of the first."""
PATIENCE = 2.0
"""Seconds within which 95 of 100 final texts must come, and the last ones after the end of the run."""
SETTINGS = {
    "type": "session.update",
    "session": {"type": "transcription", "audio": {"input": {"turn_detection": DETECTION}}},
}


@dataclass
class Lags:
    """What callers waited for: (second of the run at which the speech was, seconds of waiting)."""

    first_words: list[tuple[float, float]] = field(default_factory=list)
    finals: list[tuple[float, float]] = field(default_factory=list)
    partials: int = 0


@dataclass
class Run:
    """One number of streams.

    Attributes:
        unfinished: utterances without a text at the end.
        held_back: longest delay of a frame's sending, seconds: the server's back-pressure, or a slow client.
        dropped: seconds of audio that the server threw away.
        loop_lag: 99th percentile of how late the server's event loop runs, seconds.
        cores, loop_cores: processor seconds a second, of the server and of its event loop alone.
        load: of the machine, before: what else was running.
    """

    streams: int
    seconds: float
    lags: Lags = field(default_factory=Lags)
    unfinished: int = 0
    held_back: float = 0.0
    dropped: float = 0.0
    loop_lag: float = 0.0
    cores: float = 0.0
    loop_cores: float = 0.0
    load: float = 0.0

    def third(self, number: int) -> float:
        """Median lag of the finals in a third of the run; nan without any."""
        first, last = self.seconds * number / 3, self.seconds * (number + 1) / 3
        return float(np.median([lag for at, lag in self.lags.finals if first <= at < last] or [np.nan]))

    @property
    def keeps_up(self) -> bool:
        """The lag at the end is the lag at the start, nobody waits long, and nothing was lost."""
        level = self.third(2) - self.third(0) < KEEPS_UP
        longest = float(np.quantile([lag for _, lag in self.lags.finals] or [np.inf], 0.95))
        return level and longest < PATIENCE and not self.unfinished and not self.dropped


class Talker:
    """One caller."""

    def __init__(self, frames: list[str], run: Run, number: int) -> None:
        self._frames = frames
        self._run = run
        self._number = number
        self._sent: list[float] = []
        self._onsets: dict[str, float] = {}  # of utterances without words
        self._ends: dict[str, float] = {}  # of utterances without a final text

    async def talk(self, url: str, begin: float) -> None:
        """Speak and listen; `begin` is the loop time at which the run starts."""
        client = ClientSide()
        address = f"{url}/v1/realtime?intent=transcription&extensions=1"
        async with (
            connect(address, max_size=None, compression=None, ping_interval=None) as socket,
            anyio.create_task_group() as tasks,
        ):
            await socket.send(json.dumps(SETTINGS))
            tasks.start_soon(self._listen, socket, client, begin)
            for n in range(int(self._run.seconds * RATE / FRAME)):
                due = begin + (n + 1) * FRAME / RATE + self._number * 0.37 / self._run.streams
                await anyio.sleep_until(due)
                await socket.send(self._frames[n % len(self._frames)])
                self._sent.append(anyio.current_time())
                self._run.held_back = max(self._run.held_back, self._sent[-1] - due)
            await anyio.sleep(PATIENCE)
            self._run.unfinished += len(self._ends)
            tasks.cancel_scope.cancel()

    async def _listen(self, socket: ClientConnection, client: ClientSide, begin: float) -> None:
        lags = self._run.lags
        try:
            async for frame in socket:
                event, now = client.receive(frame), anyio.current_time()
                match event:
                    case ev.SpeechStarted():
                        self._onsets[event.item_id] = self._moment(event.audio_start_ms)
                    case ev.SpeechStopped():
                        self._ends[event.item_id] = self._moment(event.audio_end_ms)
                    case ev.Tentative() | ev.TranscriptionDelta():
                        lags.partials += isinstance(event, ev.Tentative)
                        words = event.text if isinstance(event, ev.Tentative) else event.delta
                        if words and (onset := self._onsets.pop(event.item_id, None)):
                            lags.first_words.append((onset - begin, now - onset))
                    case ev.TranscriptionCompleted():
                        self._onsets.pop(event.item_id, None)
                        end = self._ends.pop(event.item_id)
                        lags.finals.append((end - begin, now - end))
        except ConnectionClosed:
            return

    def _moment(self, ms: int) -> float:
        """Loop time at which a sample of the stream was sent."""
        return self._sent[min(ms * RATE // 1000 // FRAME, len(self._sent) - 1)]


def encode(speech: Path, most: int) -> list[list[str]]:
    """The messages of each recording, and of the pause after it."""
    found = []
    for clip in clips(speech, {"speech"}, most):
        sound = np.concatenate([resample(clip.audio(), RATE).samples, silence(PAUSE, RATE).samples])
        pieces = (sound[first : first + FRAME] for first in range(0, len(sound) - FRAME + 1, FRAME))
        found.append([_append(piece.astype("<i2").tobytes()) for piece in pieces])
    return found


def _append(data: bytes) -> str:
    return f'{{"type":"input_audio_buffer.append","audio":"{base64.b64encode(data).decode()}"}}'
