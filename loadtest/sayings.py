"""What callers utter over an answer: recordings, phrases in the server's own voice, and noises made here."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.caller import RATE
from streams.audio import Audio, Samples, from_floats, resample
from streams.lane import Lane
from streams.tap import SILENT
from voice.config import Config
from voice.engines import Setup
from voice.engines.piper import PiperTts
from voice.evaluation.manifest import Clip, chosen, spread
from voice.files import say
from voice.models import Store

STOPS = ("Stop.", "Wait.", "Hold on.", "No.", "Excuse me.", "Okay, stop.", "Actually, no.", "Never mind.")
LISTENING = ("Uh-huh.", "Mm-hm.", "Yeah.", "Okay.", "Right.", "I see.", "Yeah, yeah.", "Oh, wow.")
STOP_PLEASE = "Stop, please."
PITCHES = (0.88, 1.14)
"""Two speakers, made of one: faster and higher, slower and lower."""
PEAK = 0.3
"""Of full scale: how loud phrases and made noises are."""
WINDOW = RATE // 100
SOFT = 10 ** (-30 / 20)
"""What is so much softer than the loudest 10 ms does not belong to a phrase."""
LEAD, LONGEST = 0.2, 3.0
"""Seconds of a recording that are played from before its onset, and after."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Saying:
    """Something to be heard over an answer.

    Attributes:
        samples: int16, shape (n,), at `RATE`.
        onset: seconds at which it begins: the recording's annotation, else the first 10 ms that are loud enough.
        length: seconds from then to its end.
    """

    name: str
    group: str
    samples: Samples
    onset: float = 0.0

    @property
    def length(self) -> float:
        """Seconds from its onset to its end."""
        return len(self.samples) / RATE - self.onset


def tight(sound: Floats) -> Floats:
    """Without the softness before and after, at the same loudness as all others."""
    size = len(sound) // WINDOW * WINDOW
    levels = np.sqrt(np.mean(sound[:size].reshape(-1, WINDOW) ** 2, axis=1))
    loud = np.flatnonzero(levels > SOFT * levels.max(initial=0.0))
    if not len(loud):
        return sound[:0]
    kept = sound[loud[0] * WINDOW : (loud[-1] + 1) * WINDOW]
    return kept * float(PEAK / np.abs(kept).max())


def recorded(clip: Clip, group: str) -> Saying:
    """A recording from a little before its onset on."""
    sound = resample(clip.audio(), RATE).samples
    onset = clip.onset or 0.0
    first = max(0.0, onset - LEAD)
    return Saying(clip.id, group, sound[round(first * RATE) : round((onset + LONGEST) * RATE)], onset - first)


def typing(number: int) -> Samples:
    """Two seconds of a keyboard: clicks of a few milliseconds, two for each key."""
    rng = np.random.default_rng(number)
    sound, at = np.zeros(2 * RATE), 0.05
    while at < 1.8:
        for later, loudness in ((0.0, 1.0), (rng.uniform(0.06, 0.1), 0.5)):
            click = rng.normal(size=RATE // 100) * np.exp(-np.arange(RATE // 100) / (0.002 * RATE))
            first = round((at + later) * RATE)
            sound[first : first + len(click)] += loudness * rng.uniform(0.5, 1.0) * click
        at += rng.uniform(0.09, 0.25)
    return from_floats(sound * (PEAK / np.abs(sound).max()), RATE).samples


def cough(number: int) -> Samples:
    """Two bursts of noise as from a throat: a sharp beginning, most of it below 2 kHz, a fall over 0.2 s."""
    rng = np.random.default_rng(100 + number)
    bursts = []
    for length in (0.32, 0.38):
        noise = rng.normal(size=round(length * RATE))
        spectrum = np.fft.rfft(noise)
        frequency = np.fft.rfftfreq(len(noise), 1 / RATE)
        throat = np.fft.irfft(spectrum / (1 + (frequency / rng.uniform(900, 1600)) ** 2), len(noise))
        time = np.arange(len(noise)) / RATE
        bursts.append(throat * np.minimum(time / 0.01, 1) * np.exp(-time / rng.uniform(0.08, 0.14)))
    sound = np.concatenate(bursts)
    return from_floats(sound * (PEAK / np.abs(sound).max()), RATE).samples


def interruptions(clips: list[Clip], phrases: dict[str, Audio], most: int) -> list[Saying]:
    """What stops an answer, at most so many of each kind."""
    timed = [clip for clip in chosen(clips, kinds={"speech", "short"}, languages=["en"]) if clip.trusted and clip.onset]
    speech = [clip for clip in timed if clip.kind == "speech" and (clip.seconds or 0) >= LONGEST]
    words = [clip for clip in timed if clip.kind == "short" and len(clip.transcript) > 1]
    spoken = [Saying(text, "stop phrases", _pitched(phrases[text], 1.0)) for text in STOPS[:most]]
    return [
        *(recorded(clip, "speech") for clip in spread(speech, most)),
        *spoken,
        *(recorded(clip, "single words") for clip in spread(words, most)),
    ]


def others(clips: list[Clip], phrases: dict[str, Audio], most: int) -> list[Saying]:
    """What leaves an answer running, at most so many of each kind."""
    vocal = spread([clip for clip in clips if clip.kind == "nonspeech_vocal"], most)
    noise = spread([clip for clip in clips if clip.kind in {"noise", "music", "tone"}], most)
    people = spread([clip for clip in clips if clip.kind == "backchannel"], 2 * most)
    made = max(1, min(most, 4) // 2)
    return [
        *_listening(phrases, most),
        *(recorded(clip, "backchannels, recordings") for clip in people),
        *(recorded(clip, "coughs, sneezes, cries") for clip in vocal),
        *(Saying(f"made cough {n}", "coughs, sneezes, cries", cough(n)) for n in range(made)),
        *(Saying(f"made typing {n}", "typing", typing(n)) for n in range(2 * made)),
        *(recorded(clip, "noise and music") for clip in noise),
    ]


def _listening(phrases: dict[str, Audio], most: int) -> Iterator[Saying]:
    for text in LISTENING[:most]:
        for pitch in PITCHES:
            yield Saying(f"{text} x{pitch}", "backchannels, own voice", _pitched(phrases[text], pitch))


def _pitched(phrase: Audio, pitch: float) -> Samples:
    changed = Audio(phrase.samples, round(phrase.rate * pitch))
    return from_floats(tight(resample(changed, RATE).floats().astype(np.float64)), RATE).samples


async def spoken(config: Config) -> dict[str, Audio]:
    """The phrases, in the voice that the server answers in."""
    async with (
        Lane("tts", 1, 1) as lane,
        PiperTts(Setup(config, Store(config.models).folder, lane, SILENT)) as tts,
    ):
        return {text: await say(text, tts, config) for text in (*STOPS, *LISTENING, STOP_PLEASE)}


def stop_please(phrases: dict[str, Audio]) -> Saying:
    """What is said over an echo."""
    return Saying(STOP_PLEASE, "over an echo", _pitched(phrases[STOP_PLEASE], PITCHES[1]))
