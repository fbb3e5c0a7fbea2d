"""How much was heard, by the client's own account."""

import anyio
import pytest

from streams.audio import silence
from streams.playout import TRUSTED, Playout
from tests.session.scripted import GAP, WORD, call

pytestmark = pytest.mark.anyio


async def out(audio: object) -> None: ...


async def test_an_account_is_carried_on_for_a_while() -> None:
    playout = Playout(ahead=5.0)
    await playout.play(silence(3.0, 24_000), out)
    await anyio.sleep(1.0)
    playout.reported(0.6)
    assert playout.sounded() == pytest.approx(0.6)
    await anyio.sleep(0.3)
    assert playout.sounded() == pytest.approx(0.9)
    await anyio.sleep(2.0)
    assert playout.sounded() == pytest.approx(0.6 + TRUSTED), "who plays on tells so"
    playout.reported(99.0)
    assert playout.sounded() == pytest.approx(3.0), "nobody has heard what was not sent"


async def test_the_history_follows_a_client_that_plays_late() -> None:
    """It buffers for 0.6 s before it plays, tells every 0.2 s, and is interrupted between two accounts."""
    text = "one two three four five six seven eight nine ten eleven twelve."
    async with call(lambda prompt: text) as caller:
        await caller.say("count please now")
        await caller.until(lambda: caller.times("response.output_audio.delta"))
        begun = anyio.current_time()
        [reply] = caller.seen.replies.values()
        for n in range(8):
            await caller.quiet(0.6 + 0.2 * n - (anyio.current_time() - begun))
            await caller.send(caller.client.playback(next(iter(reply.items)), round(200 * n)))
        await caller.say("stop")
        await caller.answered()
        cut = next(iter(caller.times("response.done"))) - begun - 0.6
        heard = sum(n * (WORD + GAP) + WORD / 2 <= cut for n in range(12))
        assert len(reply.text.split()) in (heard, heard - 1)
        assert heard >= 5
