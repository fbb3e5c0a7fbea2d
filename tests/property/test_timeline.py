"""Wherever the marks fall, the spans add up to what the caller waited."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.timeline import MARKS, Timeline

times = st.dictionaries(st.sampled_from(MARKS[2:-1]), st.floats(0, 5), max_size=8)


@given(times, st.floats(0, 5))
def test_spans_add_up(reached: dict[str, float], total: float) -> None:
    timeline = Timeline(onset=7.0, origin=8.0)
    timeline.mark("asr_final", 8.5)
    timeline.paused(10.0, 10.0)
    for name, at in reached.items():
        assert timeline.mark(name, 10.0 + at)
        assert not timeline.mark(name, 99.0), "only the first time counts"
    timeline.mark("voice_to_voice", 10.0 + total)
    spans = timeline.spans()
    assert all(length >= 0 for _, length in spans)
    assert sum(length for _, length in spans) == pytest.approx(total)
    assert spans[-1][0] == "voice_to_voice"
