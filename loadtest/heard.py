"""Which words of an answer sounded: the history's yardstick.

The voice says the answer's text once more and tells when each word sounds. Dynamic time warping (Sakoe and Chiba 1978)
lays what a client received beside that. Of the service's own book-keeping nothing is used: neither how much it sent,
softened or repeated, nor when.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.audio import Audio, join, resample
from streams.playout import FRAME_SECONDS
from voice.chunker import Chunker
from voice.config import Config
from voice.engines import Tts
from voice.engines.mel import HOP, RATE, log_mel
from voice.events import Priority, Word

SLACK = 0.02
"""Seconds by which the middle of a word may be wrong. In 100 answers, spoken twice, cut off and softened, 95 % of the
words were found within 20 ms of where the voice had said they were, half of them within 6 ms; and by the best reading
all 100 had the right number of words."""
STEP = HOP / RATE
FURTHEST = 3
"""Steps of the second saying that one step of the sound may stand for; each but one costs `UNEVEN`."""
UNEVEN = 0.5
"""Of the mean difference between two steps of sound."""
FADE = round(FRAME_SECONDS / STEP)
"""Steps over which an answer that is cut fades out."""
LATEST = 0.3
"""Seconds of the second saying that may be missing at the beginning."""


@dataclass(frozen=True)
class Verdict:
    """The history of one cut against its sound.

    Attributes:
        kept, sounded: how many words the history has, and how many sounded: their middle had been played.
        right: the history is these words; `wrong`: it is not, and the yardstick is sure.
        least, most: words that sounded, by the surest and the most generous reading of the yardstick.
        prefix: the history is a beginning of what was announced.
    """

    kept: int
    sounded: int
    least: int
    most: int
    prefix: bool

    @property
    def right(self) -> bool:
        """The history has the words that sounded, no more and no less."""
        return self.prefix and self.kept == self.sounded

    @property
    def wrong(self) -> bool:
        """It has not, however the yardstick is read."""
        return not (self.prefix and self.least <= self.kept <= self.most)

    @property
    def sure(self) -> bool:
        """The yardstick allows one reading only."""
        return self.least == self.most


def judge(history: str, transcript: str, middles: Sequence[float | None], played: float) -> Verdict:
    """Compare.

    Args:
        middles: of each word of the transcript; None: it is not in the sound.
        played: seconds of the sound that were heard.
    """
    kept, announced = history.split(), transcript.split()
    known = [middle for middle in middles if middle is not None]
    return Verdict(
        len(kept),
        sum(middle <= played for middle in known),
        sum(middle + SLACK <= played for middle in known),
        sum(middle - SLACK <= played for middle in known),
        prefix=kept == announced[: len(kept)],
    )


async def said_again(text: str, tts: Tts, config: Config) -> tuple[Audio, list[Word]]:
    """The text in the voice of the answers, and when each of its words sounds."""
    chunker, pieces, words, at = Chunker(), [], [], 0.0
    for clause in chunker.push(text) + chunker.finish():
        async with tts.stream(
            clause, voice=config.tts.voice, speed=config.tts.speed, priority=Priority.BATCH, session=""
        ) as speech:
            async for part in speech:
                words += [Word(word.text, word.start + at, word.end + at) for word in part.words]
                pieces.append(part.audio)
                at += part.audio.seconds
    return join(pieces), words


def middles(sound: Audio, again: Audio, words: Sequence[Word]) -> list[float | None]:
    """When the middles of words sound, seconds; None for those after the end of the sound.

    Where the sound fades out, and after it, words are taken to follow as in the second saying.

    Args:
        sound: as much of a text as was received.
        again: all of it, said by the same voice; its `words` have times on it.
    """
    whole = _features(sound)
    places = _beside(whole[:-FADE], _features(again))
    found: list[float | None] = []
    for word in words:
        middle = (word.start + word.end) / 2 / STEP
        step = np.searchsorted(places, middle)
        at = step - 0.5 if step < len(places) else len(places) - 1 + middle - places[-1]
        found.append(float(at) * STEP if at < len(whole) + FADE else None)
    return found


def _features(sound: Audio) -> NDArray[np.float32]:
    """The shape of the spectrum at each step, whatever its loudness."""
    columns = log_mel(resample(sound, RATE).floats())
    shapes: NDArray[np.float32] = (columns - columns.mean(0)).T
    return shapes


def _beside(sound: NDArray[np.float32], again: NDArray[np.float32]) -> NDArray[np.intp]:
    """Which step of the second saying each step of the sound stands for; the second may go on where the sound ends."""
    squares = (sound**2).sum(1)[:, None] + (again**2).sum(1)[None] - 2 * sound @ again.T
    differences = np.sqrt(np.maximum(squares, 0))
    differences /= differences.mean()
    costs = np.array([UNEVEN * abs(step - 1) for step in range(FURTHEST + 1)])[:, None]
    total = np.where(np.arange(len(again)) < LATEST / STEP, differences[0], np.inf)
    back = np.zeros(differences.shape, np.intp)
    for n in range(1, len(sound)):
        before = np.concatenate([np.full(FURTHEST, np.inf), total])
        ways = np.stack([before[FURTHEST - step : len(before) - step] for step in range(FURTHEST + 1)]) + costs
        back[n] = ways.argmin(0)
        total = ways.min(0) + differences[n]
    places = np.zeros(len(sound), np.intp)
    place = int(total.argmin())
    for n in range(len(sound) - 1, -1, -1):
        places[n] = place
        place -= back[n, place]
    return places
