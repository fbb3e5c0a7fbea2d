"""What is sent, when, and what the listener has heard of it."""

from dataclasses import dataclass, field

import anyio
import numpy as np
import pytest

from streams.audio import Audio, Samples, silence
from streams.playout import DUCKED, DUCKED_AHEAD, FRAME_SECONDS, Playout

pytestmark = pytest.mark.anyio

PIECE = silence(0.1, 24_000)


async def test_nothing_is_sent_further_ahead_than_allowed() -> None:
    playout, times = Playout(ahead=0.25), []

    async def out(audio: Audio) -> None:
        times.append(anyio.current_time())

    for _ in range(20):
        await playout.play(PIECE, out)
    begun = times[0]
    starts = [n * 0.1 + at for n in range(20) for at in (0, 0.04, 0.08)]
    assert all(at - begun >= start - 0.25 - 1e-6 for start, at in zip(starts, times, strict=True))
    assert times[-1] - begun == pytest.approx(starts[-1] - 0.25), "and no later than it has to be"
    assert playout.gaps == 0


async def test_what_has_sounded_follows_the_clock_and_stops_with_the_sound() -> None:
    playout = Playout(ahead=0.5)
    assert playout.sounded() == 0

    async def out(audio: Audio) -> None: ...

    for _ in range(3):
        await playout.play(PIECE, out)
    await anyio.sleep(0.12)
    assert playout.sounded() == pytest.approx(0.12)
    await playout.drained()
    assert playout.sounded() == pytest.approx(0.3)
    await anyio.sleep(1)
    assert playout.sounded() == pytest.approx(0.3)


async def test_a_late_piece_leaves_a_gap_that_is_not_counted_as_heard() -> None:
    playout = Playout(ahead=0.2)

    async def out(audio: Audio) -> None: ...

    await playout.play(PIECE, out)
    await anyio.sleep(0.5)
    await playout.play(PIECE, out)
    assert playout.gaps == pytest.approx(0.4)
    await anyio.sleep(0.05)
    assert playout.sounded() == pytest.approx(0.15)


RAMP = Audio(np.arange(1, 24_001, dtype=np.int16), 24_000)
"""A second in which every sample says where it lies."""


@dataclass
class Listener:
    """Plays a reply, and notes what comes when."""

    playout: Playout
    heard: list[Audio] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    async def out(self, audio: Audio) -> None:
        self.heard.append(audio)
        self.times.append(anyio.current_time())

    @property
    def samples(self) -> Samples:
        return np.concatenate([audio.samples for audio in self.heard])


async def test_ducked_sound_is_softer_and_hardly_ahead() -> None:
    playout = Playout(ahead=0.2)
    listener = Listener(playout)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(playout.play, silence(2.0, 24_000), listener.out)
        await anyio.sleep(0.5)
        playout.duck()
        ducked = anyio.current_time()
        await anyio.sleep(0.5)
        ahead = playout.sent - playout.sounded()
        playout.resume()
        resumed = anyio.current_time()
    assert ahead <= DUCKED_AHEAD + FRAME_SECONDS + 1e-9
    late = [at for at in listener.times if ducked < at <= ducked + 0.13]
    assert len(late) <= 1, "what is ahead drains first"
    assert listener.times[-1] == pytest.approx(resumed + 1.0 - 0.2, abs=0.05), "and later it is as far ahead as before"
    assert playout.gaps == 0


async def test_volume_changes_within_a_frame_and_never_jumps() -> None:
    playout = Playout(ahead=0.2)
    listener = Listener(playout)
    sound = Audio(np.full(48_000, 10_000, np.int16), 24_000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(playout.play, sound, listener.out)
        await anyio.sleep(0.5)
        playout.duck()
        await anyio.sleep(0.5)
        playout.resume()
    jumps = np.abs(np.diff(listener.samples.astype(int)))
    assert jumps.max() <= 10, "a click is a jump"
    assert listener.samples.min() == pytest.approx(10_000 * DUCKED, abs=1)
    assert len(listener.samples) == 48_000, "nothing is lost"


@pytest.mark.parametrize("places", [(0.0, 0.3, 0.5, 0.9), (0.0,), ()])
async def test_after_a_hold_it_goes_on_at_the_beginning_of_a_word(places: tuple[float, ...]) -> None:
    moves: list[tuple[float, float]] = []
    playout = Playout(0.05, lambda place, shift: moves.append((place, shift)))
    listener = Listener(playout)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(playout.play, RAMP, listener.out, places)
        await anyio.sleep(0.6)
        fade = playout.hold()
        assert fade is not None
        before = playout.sent - fade.seconds
        assert fade.samples[-1] == 0
        await anyio.sleep(1.0)
        held = len(listener.heard)
        assert playout.sounded() == pytest.approx(playout.sent)
        playout.resume()
    again = listener.heard[held]
    place = max((place for place in places if place < before), default=before)
    assert again.start == round(place * 24_000)
    assert np.concatenate([audio.samples for audio in listener.heard[held + 1 :]]).max() == 24_000, "to its end"
    [(at, shift)] = moves
    assert (at, at + shift) == (pytest.approx(place), pytest.approx(before + fade.seconds))
    assert playout.gaps == 0, "a pause that was meant is no gap"
    assert playout.hold() is None, "nothing is under way any more"
