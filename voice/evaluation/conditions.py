"""What a recording goes through before it reaches the server: noise, a room, a telephone. The same at every call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streams.audio import Audio, from_floats, join, resample, silence
from voice.evaluation.manifest import Clip
from voice.realtime.codec import Format

RATE = Format.PCM.rate
BAND = (300.0, 3400.0)
"""Hz that a telephone lets through (ITU-T G.712)."""
EDGE = 100.0
"""Hz over which its band ends."""
ACTIVE_DB = 25.0
"""What is so much softer than the loudest tenth of a recording is no speech."""
USAGE = "give clean, noise:SNR, babble:SNR (decibels), room or telephone"

Floats = NDArray[np.float64]


class ConditionError(ValueError):
    """A condition cannot be made; the message says what is missing."""


@dataclass(frozen=True)
class Condition:
    """One way to spoil a recording.

    Attributes:
        name: as the user wrote it.
        change: of samples in [-1, 1] at `RATE`, with a generator that is the same for the same clip.
        format: how the caller's telephone encodes.
    """

    name: str = "clean"
    change: Callable[[Floats, np.random.Generator], Floats] | None = None
    format: Format = Format.PCM

    def sound(self, clip: Clip, clean: Audio, lead: float, tail: float) -> Audio:
        """What the microphone hears, at the format's rate: `lead` seconds of background, the clip, and `tail` more."""
        padded = join([silence(lead, RATE), resample(clean, RATE), silence(tail, RATE)])
        if self.change is None:
            return resample(padded, self.format.rate)
        changed = self.change(padded.floats().astype(np.float64), np.random.default_rng(crc32(clip.id.encode())))
        loudest = np.abs(changed).max(initial=0.0)
        return resample(from_floats(changed / max(loudest, 1.0), RATE), self.format.rate)

    def coded(self, sound: Audio) -> Audio:
        """What is left of it on the other side of the line."""
        return Audio(self.format.decode(self.format.encode(sound.samples)), sound.rate, sound.start)


def parse(spec: str, sounds: Callable[[str], Sequence[Audio]]) -> Condition:
    """The condition of that name.

    Args:
        spec: "clean", "noise:10", "babble:5", "room", "telephone".
        sounds: recordings of a kind: "noise", "babble", "rir".

    Raises:
        ConditionError: there is no such condition, or no sound for it.
    """
    name, _, level = spec.partition(":")
    match name:
        case "clean" if not level:
            return Condition()
        case "telephone" if not level:
            return Condition(spec, _telephone, Format.PCMU)
        case "room" if not level:
            responses = _found(spec, "rir", "--room", sounds)
            return Condition(spec, lambda speech, rng: in_room(speech, _one_of(responses, rng)))
        case "noise" | "babble":
            noises, ratio = _found(spec, name, "--noise", sounds), _decibels(spec, level)
            return Condition(spec, lambda speech, rng: with_noise(speech, _one_of(noises, rng), ratio, rng))
    raise ConditionError(f'condition "{spec}": unknown; {USAGE}')


def _found(spec: str, kind: str, option: str, sounds: Callable[[str], Sequence[Audio]]) -> list[Floats]:
    found = [resample(audio, RATE).floats().astype(np.float64) for audio in sounds(kind)]
    if not found:
        raise ConditionError(f'condition "{spec}": the manifest has no clip of kind {kind}; give {option} FILE')
    return found


def _decibels(spec: str, level: str) -> float:
    try:
        return float(level)
    except ValueError:
        raise ConditionError(f'condition "{spec}": no ratio in decibels after the colon; {USAGE}') from None


def _one_of(sounds: list[Floats], rng: np.random.Generator) -> Floats:
    return sounds[int(rng.integers(len(sounds)))]


def with_noise(speech: Floats, noise: Floats, ratio: float, rng: np.random.Generator) -> Floats:
    """Speech over noise `ratio` decibels below the speech's active level; the noise is repeated from a random point."""
    start = int(rng.integers(len(noise)))
    bed = np.resize(np.roll(noise, -start), len(speech))
    loudness = float(np.sqrt(np.mean(bed**2)))
    if loudness == 0.0:
        return speech
    return speech + bed * (active_level(speech) / loudness * 10 ** (-ratio / 20))


def in_room(speech: Floats, response: Floats) -> Floats:
    """Speech through a room's response from its direct sound on, as loud as before and not delayed."""
    response = response[int(np.argmax(np.abs(response))) :]
    size = len(speech) + len(response) - 1
    wet = np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(response, size), size)[: len(speech)]
    level = active_level(wet)
    return wet * (active_level(speech) / level) if level else wet


def _telephone(speech: Floats, rng: np.random.Generator) -> Floats:
    """The telephone's band; the format does the rest."""
    frequency = np.fft.rfftfreq(len(speech), 1 / RATE)
    low, high = BAND
    gain = np.clip((frequency - low + EDGE) / EDGE, 0, 1) * np.clip((high + EDGE - frequency) / EDGE, 0, 1)
    return np.fft.irfft(np.fft.rfft(speech) * gain, len(speech))


def active_level(speech: Floats) -> float:
    """Root mean square over the 20 ms frames that hold speech, after ITU-T P.56; 0 of silence."""
    size = RATE // 50
    power = np.mean(speech[: len(speech) // size * size].reshape(-1, size) ** 2, axis=1)
    if not power.max(initial=0.0):
        return 0.0
    loud = np.quantile(power[power > 0], 0.9)
    return float(np.sqrt(np.mean(power[power >= loud * 10 ** (-ACTIVE_DB / 10)])))
