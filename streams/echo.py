"""What a loudspeaker plays and a microphone hears again: where it comes back, and how loud."""

import anyio
import numpy as np
from numpy.typing import NDArray

from streams.audio import Audio, Resampler

Floats = NDArray[np.float32]

LATEST = 0.95
"""Seconds after which what was handed to the link no longer comes back."""

AHEAD = 2.0
"""Seconds that may be handed over ahead of time; what lies beyond is not remembered."""

_RATE = 8000  # all work is done at this rate: what is above 4 kHz says little and costs much
_FADING = 0.4  # seconds a room goes on sounding
_LAGS = round(LATEST * _RATE)
_WINDOW = 1024  # newest samples that are looked for in what was played
_PAST = _LAGS + _WINDOW
_SIZE = 9000  # of transforms: at least _PAST, and a product of small primes
_KEPT = _PAST + round(0.5 * _RATE)  # played samples kept before now: half a second for a late packet

_FRAME = 384  # samples of one look at the bands
_BANDS = np.unique(np.round(np.geomspace(7, 180, 17)).astype(int))  # edges as bins of such a frame: 146 to 3750 Hz

_WHITEN = 0.85  # exponent: 1 is the phase transform, which gives much weight to bands without sound
_EVIDENCE = 0.9  # of the evidence for a lag, what is left after a frame
_CERTAIN = 0.025  # evidence for a lag; callers over answers that did not come back: 99.9 % of frames below 0.021
_AHEAD_BY = 3.0  # more than that counts no more: where little has been played yet, there are no others
_CERTAIN_AGAIN = 0.008  # for a lag close to the one that was known
_CLOSE = round(0.06 * _RATE)
_PITCH = round(0.02 * _RATE)  # a voice is like itself this many samples later
_JITTER = 24  # samples by which the strongest reflection may move
_COHERENT = 0.03  # likeness of a frame that is taken for echo when learning how loud it is
_LEARN = 0.97  # of what is known about the loudness, what is left after a frame that teaches
_REVERB = 0.63  # of a band's power, what a room keeps for 32 ms: 2 dB less
_MARGIN = 4.0  # a frame may be 6 dB louder than the mean and still be echo, or noise
_LATE_PACKET = round(0.08 * _RATE)

_HANN = np.hanning(_FRAME).astype(np.float32)
_ENDS = np.ones(_WINDOW, np.float32)
_ENDS[:256] = np.linspace(0, 1, 256)
_ENDS[-64:] = np.linspace(1, 0.3, 64)
_HEARD_BANDS = (np.abs(np.fft.rfftfreq(_SIZE, 1 / _RATE) - 1950) < 1750).astype(np.float32)


class Echo:
    """What a link's loudspeaker plays, and how much of what its microphone hears is that.

    Where the sound comes back is found by generalised cross-correlation (Knapp and Carter, 1976), normalised and
    gathered over frames; how loud, by the power in 16 bands of frames that clearly are echo. A frame that is no louder
    than that is explained. About 0.4 ms per frame, and nothing while nothing sounds.

    Args:
        rate: Hz of what is heard, a multiple of 8000.

    Raises:
        ValueError: any other rate.
    """

    def __init__(self, rate: int) -> None:
        if rate % _RATE or rate <= 0:
            raise ValueError(f"heard audio at {rate} Hz: echo is sought at multiples of {_RATE} Hz; resample it first")
        self._loudspeaker = _Loudspeaker()
        self._microphone = _Microphone(rate // _RATE)
        self._evidence = np.zeros(_LAGS, np.float32)
        self._peak = 0  # the lag at which the newest frame is most like what was played
        self._lag: int | None = None
        self._loudness = _Loudness()

    def played(self, audio: Audio) -> None:
        """Take what is handed to the link now; it sounds after what was handed over before."""
        self._loudspeaker.play(audio, anyio.current_time())

    @property
    def sounding(self) -> bool:
        """Whether something that was played may still be coming back."""
        return anyio.current_time() < self._loudspeaker.end + LATEST + _FADING

    def share(self, heard: Audio) -> float:
        """How much of the newest heard frame's energy is explained by what was played (and noise under it), in [0, 1].

        Args:
            heard: 32 ms that ended just now, with their place on the stream's clock.
        """
        if not self.sounding:
            return 0.0
        now = round(anyio.current_time() * _RATE)
        if self._microphone.hear(heard, now):
            self._evidence[:] = 0
        end = self._microphone.end
        played = self._loudspeaker.before(end, _PAST, now)
        frame = _bands(self._microphone.newest(_FRAME))
        if not played.any():
            return 0.0
        likeness = _likeness(self._microphone.newest(_WINDOW), played) * np.float32(self._microphone.filled)
        self._seek(likeness)
        if self._lag is None:
            return 0.0
        last = _PAST - self._lag
        near = likeness[max(0, self._lag - _JITTER) : self._lag + _JITTER + 1].max()
        coherent = near > _COHERENT and near >= 0.8 * likeness.max()
        return self._loudness.share(frame, _bands(played[last - _FRAME : last]), bool(coherent))

    def _seek(self, likeness: Floats) -> None:
        """Gather evidence, and believe in the lag for which there is much more than for all others."""
        self._evidence = _EVIDENCE * self._evidence + (1 - _EVIDENCE) * likeness
        best = int(self._evidence.argmax())
        others = np.concatenate([self._evidence[: max(0, best - _PITCH)], self._evidence[best + _PITCH :]])
        peak, before = int(likeness.argmax()), self._peak
        self._peak = peak
        lead = self._evidence[best] * min(self._evidence[best] / (others.max() + 1e-9) - 1, _AHEAD_BY)
        known = self._lag is not None and abs(best - self._lag) < _CLOSE
        twice = max(abs(peak - best), abs(before - best)) <= _JITTER  # one frame may be like another by chance
        if lead > _CERTAIN_AGAIN if known else lead > _CERTAIN and twice:
            self._lag = best


class _Loudspeaker:
    """The last second of sound and what is to come, on the loop's clock."""

    def __init__(self) -> None:
        self.end = -10.0
        """Loop time at which all that was handed over has sounded, if it comes without delay."""
        self._first = -_KEPT
        self._samples = np.zeros(_KEPT + round(AHEAD * _RATE), np.float32)
        self._resampler: Resampler | None = None
        self._origin = 0

    def play(self, audio: Audio, now: float) -> None:
        """Put it after what is still to sound, or now."""
        if self._resampler is None or now > self.end or self._resampler.source != audio.rate:
            self.end = max(now, self.end)
            self._origin = round(self.end * _RATE)
            self._resampler = Resampler(audio.rate, _RATE)
        self._forget(round(now * _RATE))
        self.end += audio.seconds
        ready = self._resampler.push(audio.samples)
        at = self._origin + ready.start - self._first
        place = self._samples[max(at, 0) : max(at, 0) + len(ready.samples)]
        place[:] = ready.floats()[: len(place)]

    def before(self, end: int, count: int, now: int) -> Floats:
        """The `count` samples up to `end`, of which at most `_LATE_PACKET` are later than now."""
        self._forget(now)
        last = end - self._first
        return self._samples[last - count : last]

    def _forget(self, now: int) -> None:
        """Make room at the end."""
        passed = min(now - _KEPT - self._first, len(self._samples))
        if passed > 0:
            self._samples = np.concatenate([self._samples[passed:], np.zeros(passed, np.float32)])
            self._first = now - _KEPT


class _Microphone:
    """The newest samples, at the working rate and on the loop's clock as well as packets that come unevenly allow."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        reach = 15 * (factor - 1)
        steps = np.arange(-reach, reach + 1)
        self._filter = (np.sinc(steps / factor) * np.hamming(len(steps)) / factor).astype(np.float32)
        self._before = np.zeros(len(steps) - 1, np.float32)
        self._samples = np.zeros(_WINDOW, np.float32)
        self._follows: int | None = None  # where on its stream the next piece begins
        self._shift: int | None = None
        self.end = 0
        self.filled = 0.0
        """How much of the window has been heard, in [0, 1]: few samples are like anything."""

    def hear(self, audio: Audio, now: int) -> bool:
        """Take what ended `now`; whether the clocks had to be set."""
        if audio.start != self._follows:
            self._samples = np.zeros(_WINDOW, np.float32)
            self.filled = 0.0
        self._follows = audio.end
        raw = np.concatenate([self._before, audio.floats()])
        self._before = raw[len(raw) - len(self._before) :]
        fresh = np.convolve(raw, self._filter, "valid")[:: self._factor]
        self._samples = np.concatenate([self._samples, fresh])[-_WINDOW:]
        self.filled = min(1.0, self.filled + len(fresh) / _WINDOW)
        position = audio.end // self._factor
        astray = self._shift is None or abs(position + self._shift - now) > _LATE_PACKET
        if self._shift is None or astray:
            self._shift = now - position
        self.end = position + self._shift
        return astray

    def newest(self, count: int) -> Floats:
        """The newest samples, shape (count,)."""
        return self._samples[-count:]


class _Loudness:
    """How loud each band comes back, and how loud the room is by itself."""

    def __init__(self) -> None:
        bands = len(_BANDS) - 1
        self._heard = np.zeros(bands)
        self._played = np.zeros(bands)
        self._ringing = np.zeros(bands)
        self._noise: NDArray[np.float64] | None = None

    def share(self, heard: NDArray[np.float64], played: NDArray[np.float64], coherent: bool) -> float:
        """How much of the power heard is explained by what was played at that time; learns from coherent frames."""
        self._noise = heard if self._noise is None else np.minimum(self._noise * 1.02, 0.9 * self._noise + 0.1 * heard)
        self._ringing = np.maximum(played, self._ringing * _REVERB)
        if coherent:
            self._heard = self._heard * _LEARN + heard
            self._played = self._played * _LEARN + self._ringing
        expected = self._heard / (self._played + 1e-12) * self._ringing
        self._heard[heard < 0.1 * expected] *= 0.9  # it would have been heard
        if expected.sum() < 0.0025 * heard.sum() or not heard.any():
            return 0.0
        return float(np.minimum(heard, _MARGIN * (expected + self._noise)).sum() / heard.sum())


def _bands(frame: Floats) -> NDArray[np.float64]:
    """Power in each band, shape (16,)."""
    power = np.abs(np.fft.rfft(frame * _HANN)).astype(np.float64) ** 2
    return np.add.reduceat(power, _BANDS)[:-1]


def _likeness(heard: Floats, played: Floats) -> Floats:
    """Squared correlation, in [0, 1], of what was heard with what was played so many samples earlier, both whitened.

    Args:
        heard: shape (_WINDOW,).
        played: shape (_PAST,), ending at the same moment.

    Returns:
        shape (_LAGS,).
    """
    here, there = _white(heard * _ENDS), _white(played)
    product = np.fft.irfft(there * here.conj(), _SIZE)[1 : _LAGS + 1][::-1]
    total = np.concatenate([[0.0], np.cumsum(np.fft.irfft(there, _SIZE)[:_PAST].astype(np.float64) ** 2)])
    energy = (total[_WINDOW:] - total[:-_WINDOW])[1:][::-1]
    own = float((np.abs(here) ** 2).sum()) * 2 / _SIZE
    squared: Floats = (product**2 / (own * (energy + 0.1 * energy.max()) + 1e-12)).astype(np.float32)
    return squared


def _white(samples: Floats) -> NDArray[np.complex64]:
    """The spectrum from 200 to 3700 Hz with its peaks and valleys made nearly even."""
    spectrum = np.fft.rfft(samples, _SIZE)
    flat: NDArray[np.complex64] = spectrum * (_HEARD_BANDS / (np.abs(spectrum) ** _WHITEN + 1e-6)).astype(np.float32)
    return flat
