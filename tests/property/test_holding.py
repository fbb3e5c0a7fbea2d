"""What is held of a caller's audio, whatever comes and whatever is let go of."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.audio import Audio
from tests.taps import Recorder
from voice.holding import QUIET, Holding

RATE = 1000
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 300)),
        st.tuples(st.sampled_from(["decoded", "gated", "dropped"]), st.integers(-50, 1500)),
    ),
    max_size=20,
)
"""Samples that come, and positions before which all is let go of."""


def held(steps: list[tuple[str, int]], tap: Recorder) -> Holding:
    """The n-th sample of the stream has the value n."""
    holding = Holding(RATE, tap)
    for step, number in steps:
        if step == "push":
            samples = np.arange(holding.end, holding.end + number, dtype=np.int16)
            assert holding.push(Audio(samples, RATE)).start == holding.end - number
        else:
            holding.forget(number, step)
    return holding


@given(STEPS)
def test_every_sample_is_accounted_for(steps: list[tuple[str, int]]) -> None:
    tap = Recorder()
    holding = held(steps, tap)
    books: Counter[str] = Counter()
    for _, amount, labels in tap.calls:
        books[labels["state"]] += round(amount * RATE)
    assert books["received"] == holding.end == sum(number for step, number in steps if step == "push")
    assert books["decoded"] + books["gated"] + books["dropped"] == holding.start


@given(STEPS, st.integers(0, 1500))
def test_what_is_held_comes_back_with_its_place(steps: list[tuple[str, int]], start: int) -> None:
    holding = held(steps, Recorder())
    audio = holding.since(start)
    first = min(max(start, holding.start), holding.end)
    assert list(audio.samples) == list(range(first, holding.end))
    assert audio.end == holding.end
    assert not len(audio.samples) or audio.start == first


@given(st.integers(0, 900), st.integers(0, 400), st.integers(0, 1100), st.integers(0, 1100))
def test_the_quietest_moment_lies_where_it_was_asked_for(hush: int, gone: int, first: int, last: int) -> None:
    samples = np.full(1000, 3000, np.int16)
    size = round(QUIET * RATE)
    samples[hush : hush + size] = 0
    holding = Holding(RATE, Recorder())
    holding.push(Audio(samples, RATE))
    holding.forget(gone, "decoded")
    place = holding.quietest(first, last, [])
    low, high = max(first, gone), min(last, 1000)
    if high - low < 2 * size:
        assert place is None
    else:
        assert place is not None
        assert low <= place <= high
        if low <= hush and hush + size <= high:
            assert abs(place - (hush + size // 2)) <= 1


@given(st.integers(0, 900), st.lists(st.integers(-200, 1200), max_size=3))
def test_the_quietest_moment_is_near_one_of_those_given(hush: int, near: list[int]) -> None:
    samples = np.full(1000, 3000, np.int16)
    size = round(QUIET * RATE)
    samples[hush : hush + size] = 0
    holding = Holding(RATE, Recorder())
    holding.push(Audio(samples, RATE))
    place = holding.quietest(0, 1000, near)
    assert place is not None
    if any(size <= moment <= 1000 - size for moment in near):
        assert min(abs(place - moment) for moment in near) <= size // 2
    if not near:
        assert abs(place - (hush + size // 2)) <= 1
