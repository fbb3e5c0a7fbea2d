"""Cutting and joining audio never loses or invents a sample; a stream's clock agrees with itself."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.audio import Audio, Resampler, join
from streams.clock import SampleClock

INDEX = st.integers(-50, 350)
PIECE = st.builds(
    lambda length, start: Audio(np.arange(start, start + length, dtype=np.int16), 8000, start),
    st.integers(0, 200),
    st.integers(0, 100),
)


@given(PIECE, INDEX, INDEX)
def test_a_span_is_what_lies_between(piece: Audio, start: int, end: int) -> None:
    span = piece.span(start, end)
    assert list(span.samples) == [index for index in range(piece.start, piece.end) if start <= index < end]
    assert not len(span.samples) or span.start == span.samples[0]
    assert piece.start <= span.start <= span.end <= piece.end


@given(PIECE, st.integers(1, 300))
def test_frames_join_to_the_piece(piece: Audio, size: int) -> None:
    frames = list(piece.frames(size))
    assert all(len(frame.samples) <= size for frame in frames)
    assert all(one.end == other.start for one, other in pairwise(frames))
    whole = join([*frames, piece.span(piece.end, piece.end)])
    assert np.array_equal(whole.samples, piece.samples)
    assert whole.start == piece.start


@given(st.lists(st.integers(0, 700), max_size=20), st.sampled_from([(24000, 16000), (8000, 24000), (48000, 16000)]))
def test_how_a_stream_is_cut_does_not_matter_to_the_resampler(cuts: list[int], rates: tuple[int, int]) -> None:
    samples = np.random.default_rng(1).integers(-9000, 9000, sum(cuts) + 1).astype(np.int16)
    pieces, at, resampler = list[Audio](), 0, Resampler(*rates)
    for cut in cuts:
        pieces.append(resampler.push(samples[at : at + cut]))
        at += cut
    pieces.append(resampler.push(samples[at:], last=True))
    at_once = Resampler(*rates).push(samples, last=True)
    assert np.abs(join(pieces).samples.astype(int) - at_once.samples).max(initial=0) <= 4, "libsoxr dithers"


RATE = 1000
GAP = st.just(0.0) | st.floats(0.002, 30)
ARRIVALS = st.lists(st.tuples(st.integers(1, 5000), GAP), min_size=1, max_size=40)  # samples, gap before
TIMES = st.lists(st.floats(0, 60), max_size=10).map(sorted)
SLACK = st.floats(0, 1)


def fed(arrivals: list[tuple[int, float]]) -> tuple[SampleClock, list[tuple[float, float]]]:
    """A clock, and (position after, loop time) of each arrival."""
    clock, now, log = SampleClock(RATE), 100.0, list[tuple[float, float]]()
    for samples, gap in arrivals:
        now += gap
        clock.arrived(samples, now)
        log.append((clock.position, now))
    return clock, log


@given(ARRIVALS, TIMES, SLACK)
def test_time_passes_when_packets_stop(arrivals: list[tuple[int, float]], waits: list[float], slack: float) -> None:
    clock, log = fed(arrivals)
    last = log[-1][1]
    seen = [clock.now(last + wait, slack) for wait in waits]
    assert seen == sorted(seen)
    for wait, position in zip(waits, seen, strict=True):
        assert position == pytest.approx(clock.position + max(0.0, wait - slack))


@given(ARRIVALS, st.data())
def test_when_is_the_arrival_that_brought_the_sample(arrivals: list[tuple[int, float]], data: st.DataObject) -> None:
    clock, log = fed(arrivals)
    kept = [entry for entry in log if entry[1] >= log[-1][1] - 120]
    position = data.draw(st.floats(0, clock.position))
    assert clock.when(position) == next(time for after, time in kept if after >= position)
    assert clock.when(clock.position + 2) == pytest.approx(log[-1][1] + 2)


@given(ARRIVALS, st.lists(st.floats(0, 250), max_size=20).map(sorted))
def test_when_never_goes_back(arrivals: list[tuple[int, float]], positions: list[float]) -> None:
    clock, _ = fed(arrivals)
    times = [clock.when(position) for position in positions]
    assert times == sorted(times)


def test_tiny_packets_do_not_grow_the_log() -> None:
    clock = SampleClock(RATE)
    for packet in range(10_000):
        clock.arrived(1, packet * 1e-5)
    assert len(clock._log) <= 101


def test_a_clock_without_samples() -> None:
    clock = SampleClock(RATE)
    assert clock.now(1e6, 0.1) == clock.position == 0.0
    with pytest.raises(ValueError, match="no sample has arrived"):
        clock.when(0)
