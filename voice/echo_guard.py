"""A voice detector that does not take our own voice, coming back through the caller's microphone, for the caller's."""

import numpy as np

from streams.audio import Audio, silence
from streams.echo import Echo
from streams.tap import Tap
from voice.engines import Vad, VadStream

RATE = 16_000
FRAME = 512
"""Samples per probability."""

ECHO = 0.6
"""Share of a frame's energy from which it counts as echo."""

SPEECH = 0.5
"""Probability from which a frame that is left out counts into `echo_seconds_total`."""


class EchoGuard:
    """The detector of one caller: what another says, and 0 for frames that are echo of what is being played.

    The decision on a frame is made when the frame is complete, without delay.

    Args:
        vad: what tells speech from everything else.
        echo: of this caller's link, told of everything that is sent, at 16 kHz.
    """

    def __init__(self, vad: Vad, echo: Echo, tap: Tap) -> None:
        self.name = vad.name
        self._vad = vad
        self._echo = echo
        self._tap = tap

    def stream(self) -> "GuardedStream":
        """A fresh stream for the caller."""
        return GuardedStream(self._vad.stream(), self._echo, self._tap)


class GuardedStream:
    """One stretch of the caller's audio."""

    def __init__(self, inner: VadStream, echo: Echo, tap: Tap) -> None:
        self._inner = inner
        self._echo = echo
        self._tap = tap
        self._rest = silence(0, RATE)

    def push(self, audio: Audio) -> list[float]:
        """Speech probability for each complete 32 ms frame since the last call; 0 where it is echo.

        Args:
            audio: at 16 kHz, with its place on the caller's stream; pieces follow one another.

        Raises:
            EngineError: what the detector behind raises.
        """
        probabilities = self._inner.push(audio)
        samples = np.concatenate([self._rest.samples, audio.samples])
        heard = Audio(samples, RATE, audio.end - len(samples))
        frames = list(heard.frames(FRAME))[: len(probabilities)]
        self._rest = heard.span(heard.start + len(frames) * FRAME, heard.end)
        return [self._judge(frame, probability) for frame, probability in zip(frames, probabilities, strict=True)]

    def _judge(self, frame: Audio, probability: float) -> float:
        if not self._echo.sounding or self._echo.share(frame) < ECHO:
            return probability
        if probability >= SPEECH:
            self._tap.count("echo_seconds_total", FRAME / RATE, by="sound")
        return 0.0
