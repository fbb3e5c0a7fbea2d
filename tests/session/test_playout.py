"""What is sent, when, and what the listener has heard of it."""

import anyio
import pytest

from streams.audio import Audio, silence
from streams.playout import Playout

pytestmark = pytest.mark.anyio

PIECE = silence(0.1, 24_000)


async def test_nothing_is_sent_further_ahead_than_allowed() -> None:
    playout, times = Playout(ahead=0.25), []

    async def out(audio: Audio) -> None:
        times.append(anyio.current_time())

    for _ in range(20):
        await playout.send(PIECE, out)
    begun = times[0]
    assert all(at - begun >= n * 0.1 - 0.25 - 1e-6 for n, at in enumerate(times))
    assert times[-1] - begun == pytest.approx(19 * 0.1 - 0.25), "and no later than it has to be"
    assert playout.gaps == 0


async def test_what_has_sounded_follows_the_clock_and_stops_with_the_sound() -> None:
    playout = Playout(ahead=0.5)
    assert playout.sounded() == 0

    async def out(audio: Audio) -> None: ...

    for _ in range(3):
        await playout.send(PIECE, out)
    await anyio.sleep(0.12)
    assert playout.sounded() == pytest.approx(0.12)
    await playout.drained()
    assert playout.sounded() == pytest.approx(0.3)
    await anyio.sleep(1)
    assert playout.sounded() == pytest.approx(0.3)


async def test_a_late_piece_leaves_a_gap_that_is_not_counted_as_heard() -> None:
    playout = Playout(ahead=0.2)

    async def out(audio: Audio) -> None: ...

    await playout.send(PIECE, out)
    await anyio.sleep(0.5)
    await playout.send(PIECE, out)
    assert playout.gaps == pytest.approx(0.4)
    await anyio.sleep(0.05)
    assert playout.sounded() == pytest.approx(0.15)
