"""What comes back of what was played, with voices made of pulses, and what the guard makes of it."""

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.audio import Audio, from_floats, resample, silence
from streams.echo import LATEST, Echo
from streams.tap import SILENT
from streams.virtual import VirtualLoop
from tests.taps import Recorder
from voice.echo_guard import ECHO, EchoGuard

RATE = 16_000
FRAME = 512
SECONDS = 1.6

Floats = NDArray[np.float64]


def voice(seed: int, seconds: float = SECONDS, rate: int = RATE) -> Floats:
    """Something like speech: syllables of pulses at a gliding pitch through drifting resonances, and some hiss."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    time = np.arange(count) / rate
    pitch = rng.uniform(90, 220) * np.exp(0.2 * np.sin(2 * np.pi * rng.uniform(0.4, 1.2) * time + rng.uniform(0, 6)))
    phase = np.cumsum(pitch) / rate
    sound = np.zeros(count)
    for harmonic in range(1, int(3600 / 250)):
        colour = rng.uniform(0.1, 1) * (1 + 0.8 * np.sin(2 * np.pi * rng.uniform(1, 5) * time + rng.uniform(0, 6)))
        sound += colour / harmonic**0.5 * np.sin(2 * np.pi * harmonic * phase + rng.uniform(0, 6))
    sound += 0.3 * rng.standard_normal(count)
    sound *= np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * time + rng.uniform(0, 6)) + 0.6, 0, 1)
    return np.asarray(0.1 * sound / np.sqrt((sound**2).mean()))


def later(sound: Floats, lag: float, gain: float, seconds: float) -> Floats:
    """The sound as it is heard: so many seconds later, and so many dB louder."""
    heard = np.zeros(round(seconds * RATE))
    place = heard[round(lag * RATE) :]
    place[: len(sound)] = 10 ** (gain / 20) * sound[: len(place)]
    return heard


def noise(seconds: float, level: float = -70.0) -> Floats:
    return 10 ** (level / 20) * np.random.default_rng(99).standard_normal(round(seconds * RATE))


def listen(played: Audio, heard: Floats, echo: Echo | None = None) -> list[float]:
    """Play from the first moment on, 0.2 s ahead in pieces of 40 ms, and hear at the same time; a share per frame."""
    ear, shares = echo or Echo(RATE), []

    async def call() -> None:
        begun = anyio.current_time()
        pieces = list(played.frames(played.rate // 25))
        for number, frame in enumerate(from_floats(heard, RATE).frames(FRAME)):
            if len(frame.samples) < FRAME:
                return
            due = (number + 1) * FRAME / RATE
            while pieces and pieces[0].start / played.rate < due + 0.2:
                await anyio.sleep_until(begun + max(0.0, pieces[0].start / played.rate - 0.2))
                ear.played(pieces.pop(0))
            await anyio.sleep_until(begun + due)
            shares.append(ear.share(frame))

    anyio.run(call, backend_options={"loop_factory": VirtualLoop})
    return shares


def loud(heard: Floats) -> NDArray[np.bool_]:
    """Which frames are within 15 dB of the loudest."""
    power = (heard[: len(heard) // FRAME * FRAME].reshape(-1, FRAME) ** 2).mean(axis=1)
    return np.asarray(power > power.max() / 30)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    lag=st.floats(0.0, LATEST - 0.05),
    gain=st.floats(-30, 6),
    rate=st.sampled_from([8_000, 16_000, 24_000]),
)
def test_what_was_played_is_known_at_any_lag_and_level(seed: int, lag: float, gain: float, rate: int) -> None:
    sound = voice(seed)
    heard = later(sound, lag, gain, SECONDS + lag) + noise(SECONDS + lag)
    shares = np.array(listen(resample(from_floats(sound, RATE), rate), heard))
    spoken = loud(heard)
    first = int(np.flatnonzero(spoken)[0]) + 6
    assert np.mean(shares[first:][spoken[first:]] >= ECHO) > 0.9
    assert all(0 <= share <= 1 for share in shares)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), level=st.floats(-40, -10))
def test_noise_is_not_what_was_played(seed: int, level: float) -> None:
    assert np.mean(np.array(listen(from_floats(voice(seed), RATE), noise(SECONDS, level))) >= ECHO) < 0.05


def test_other_voices_are_not_what_was_played() -> None:
    shares = []
    for seed in range(12):
        other = later(voice(seed + 20_000), 0.4, 0, SECONDS) + noise(SECONDS)
        shares += listen(from_floats(voice(seed), RATE), other)
    assert np.mean(np.array(shares) >= ECHO) < 0.05


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_silence_is_nothing_and_explains_nothing(seed: int) -> None:
    assert not any(listen(from_floats(voice(seed), RATE), np.zeros(round(SECONDS * RATE))))
    assert not any(listen(silence(SECONDS, RATE), voice(seed)))


@pytest.mark.parametrize("lag", [0.04, 0.12, 0.5])
def test_a_voice_over_the_echo_is_not_explained_by_it(lag: float) -> None:
    echo, shares = voice(1, 4.0), []
    for seed in range(2, 10):
        caller = later(voice(seed), 2.0, 0, 4.0)
        heard = later(echo, lag, -15, 4.0) + caller + noise(4.0)
        spoken = loud(caller) & (np.arange(len(heard) // FRAME) * FRAME > 2.0 * RATE)
        shares += list(np.array(listen(from_floats(echo, RATE), heard))[spoken])
    assert np.mean(np.array(shares) >= ECHO) < 0.1


def test_a_lag_once_found_holds_for_the_next_answer() -> None:
    async def call() -> tuple[int, int]:
        echo, position, found = Echo(RATE), 0, []
        for seed in (3, 4):
            await anyio.sleep(5)
            sound = voice(seed)
            heard = from_floats(later(sound, 0.1, -15, SECONDS) + noise(SECONDS), RATE)
            for piece, frame in zip(from_floats(sound, RATE).frames(FRAME), heard.frames(FRAME), strict=True):
                echo.played(piece)
                await anyio.sleep(FRAME / RATE)
                if len(frame.samples) == FRAME:
                    found.append(echo.share(Audio(frame.samples, RATE, position)))
                    position += FRAME
            position += 5 * RATE
        half = len(found) // 2
        spoken = [next(n for n, share in enumerate(part) if share >= ECHO) for part in (found[:half], found[half:])]
        return spoken[0], spoken[1]

    first, second = anyio.run(call, backend_options={"loop_factory": VirtualLoop})
    assert second < first


def test_it_sounds_until_nothing_can_come_back_any_more() -> None:
    async def call() -> list[bool]:
        echo, found = Echo(RATE), []
        found.append(echo.sounding)
        echo.played(silence(0.2, 24_000))
        for wait in (0.0, 1.0, 1.0):
            await anyio.sleep(wait)
            found.append(echo.sounding)
        return found

    assert anyio.run(call, backend_options={"loop_factory": VirtualLoop}) == [False, True, True, False]


def test_more_than_fits_is_let_go_of() -> None:
    sound = voice(5, 8.0)

    async def call() -> float:
        echo = Echo(RATE)
        await anyio.sleep(100)
        echo.played(from_floats(sound, RATE))
        return max(echo.share(frame) for frame in silence(1.6, RATE).frames(FRAME))

    assert anyio.run(call, backend_options={"loop_factory": VirtualLoop}) == 0


@pytest.mark.parametrize("rate", [0, 11_025, 22_050])
def test_a_rate_it_cannot_work_with_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match=f"{rate} Hz"):
        Echo(rate)


class Talkative:
    """Takes everything for speech, in frames of its own."""

    name = "talkative"

    def stream(self) -> "TalkativeStream":
        return TalkativeStream()


class TalkativeStream:
    def __init__(self) -> None:
        self._count = 0

    def push(self, audio: Audio) -> list[float]:
        whole, self._count = divmod(self._count + len(audio.samples), FRAME)
        return [0.9] * whole


@pytest.mark.parametrize("size", [160, 512, 1300])
def test_the_guard_leaves_echo_out_and_counts_it(size: int) -> None:
    sound = voice(6)
    heard = from_floats(later(sound, 0.1, -15, SECONDS) + noise(SECONDS), RATE)
    tap = Recorder()

    async def call() -> list[float]:
        echo, found = Echo(RATE), []
        guard = EchoGuard(Talkative(), echo, tap).stream()
        for piece, frame in zip(from_floats(sound, RATE).frames(size), heard.frames(size), strict=True):
            echo.played(piece)
            await anyio.sleep(len(piece.samples) / RATE)
            found += guard.push(frame)
        return found

    found = anyio.run(call, backend_options={"loop_factory": VirtualLoop})
    spoken = loud(heard.floats().astype(np.float64))
    spoken[: int(np.flatnonzero(spoken)[0]) + 6] = False
    assert len(found) == len(heard.samples) // FRAME
    assert set(found) == {0.0, 0.9}
    assert np.mean(np.array(found)[spoken] == 0) > 0.9
    assert {(name, tuple(labels.items())) for name, _, labels in tap.calls} == {
        ("echo_seconds_total", (("by", "sound"),))
    }
    assert sum(value for _, value, _ in tap.calls) == pytest.approx(found.count(0.0) * 0.032)


def test_the_guard_says_what_the_detector_says_while_nothing_is_played() -> None:
    async def call() -> list[float]:
        guard = EchoGuard(Talkative(), Echo(RATE), SILENT).stream()
        return [p for frame in from_floats(voice(7), RATE).frames(300) for p in guard.push(frame)]

    assert anyio.run(call, backend_options={"loop_factory": VirtualLoop}) == [0.9] * 50
