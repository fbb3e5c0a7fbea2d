"""What the tests of flow control share: bounds, books, and callers that never hang up first."""

import gc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest

from streams.channel import Channel
from streams.link import LinkClosed
from tests.session.scripted import RATE, Call
from tests.taps import Recorder
from voice.chunker import Chunker
from voice.events import Prompt
from voice.listening import RATE as HEARD_RATE

DELTAS, CLAUSES, SECOND = 64, 2, 1.0
UNREAD = 40  # frames: a second of sound, and some events
LINK = ("there", "back")  # frames under way, as in sockets
FRAME = 0.02
FILTER = 0.02  # seconds the resampler may hold back
DONE = "response.done"


def text(words: int) -> str:
    """Sentences of ten words."""
    return " ".join(f"word{n % 23}" + ("." if n % 10 == 9 else "") for n in range(words))


def told(words: int) -> str:
    """The same as it is heard."""
    return text(words).replace(".", "")


def clauses(words: int) -> list[int]:
    """Words in each of its clauses."""
    chunker = Chunker()
    return [len(clause.split()) for clause in chunker.push(text(words)) + chunker.finish()]


def story(words: int) -> Callable[[Prompt], str]:
    """Answers with so many words."""
    return lambda prompt: text(words)


def edges(tap: Recorder) -> dict[str, list[float]]:
    """What each edge held, in order."""
    held: dict[str, list[float]] = {}
    for name, value, labels in tap.calls:
        if name == "edge_seconds":
            held.setdefault(labels["edge"], []).append(value)
    return held


def within_bounds(tap: Recorder, longest: float = 0.0) -> None:
    """No edge ever held more than it may; `longest`: seconds of the longest clause, which is never cut in two."""
    peaks = {edge: max(held) for edge, held in edges(tap).items()}
    assert peaks.get("llm_clauses", 0) <= DELTAS
    assert peaks.get("clauses_tts", 0) <= CLAUSES
    assert peaks.get("tts_gate", 0) <= max(SECOND, longest) + 1e-6
    assert peaks.get("session_link", 0) <= UNREAD


def books(tap: Recorder) -> Counter[str]:
    """Samples of the caller's by what became of them."""
    found: Counter[str] = Counter()
    for name, seconds, labels in tap.calls:
        if name == "audio_seconds_total":
            samples = seconds * HEARD_RATE
            assert samples == pytest.approx(round(samples), abs=1e-6), "no part of a sample"
            found[labels["state"]] += round(samples)
    return found


def balanced(tap: Recorder, sent: int | None = None) -> None:
    """Once the call is over: to the sample. `sent`: samples at `RATE` that were certainly read."""
    found = books(tap)
    assert found["received"] == found["decoded"] + found["gated"] + found["dropped"]
    if sent is not None:
        assert 0 <= sent * HEARD_RATE / RATE - found["received"] < FILTER * HEARD_RATE


async def read(caller: Call, each: float) -> None:
    """Take a frame every so often until the link ends."""
    with suppress(LinkClosed):
        while True:
            await anyio.sleep(each)
            event = caller.client.receive(await caller.link.receive())
            caller.events.append((anyio.current_time(), event))
            caller.seen.apply(event)


async def line_open_until(caller: Call, happened: Callable[[], object]) -> None:
    """Silence from the microphone, as long as it takes; that it is always read shows in that this goes on."""
    with anyio.fail_after(600):
        while not happened():
            await caller.quiet(FRAME)


def nothing_left(caller: Call) -> None:
    """Every edge is empty, by its own account and in memory."""
    assert {edge: held[-1] for edge, held in edges(caller.tap).items() if held[-1]} == {}
    gc.collect()
    channels = [each for each in gc.get_objects() if isinstance(each, Channel)]
    assert [(each.name, each.weight) for each in channels if each.weight and each.name not in LINK] == []
