"""What holds of speech events whatever the probabilities."""

from hypothesis import given
from hypothesis import strategies as st

from voice.config import VadConfig
from voice.events import SpeechStarted, SpeechStopped
from voice.vad import ALERT, FRAME, Segmenter

FRAMES = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]), st.none()), max_size=300)
"""A probability for each frame; None: no packet came."""
CONFIGS = st.builds(
    VadConfig,
    threshold=st.floats(0.4, 1),
    release=st.floats(0, 0.4),
    onset_seconds=st.floats(0.01, 0.3),
    pause_seconds=st.floats(0.01, 0.5),
)


def play(config: VadConfig, frames: list[float | None]) -> list[SpeechStarted | SpeechStopped]:
    segmenter = Segmenter(config)
    events = (
        segmenter.starve(n * FRAME) if probability is None else segmenter.push(probability, (n + 1) * FRAME)
        for n, probability in enumerate(frames)
    )
    return [event for event in events if event]


@given(CONFIGS, FRAMES)
def test_starts_and_stops_alternate_and_time_never_goes_back(config: VadConfig, frames: list[float | None]) -> None:
    now = 0.0
    for n, event in enumerate(play(config, frames)):
        assert isinstance(event, SpeechStopped if n % 2 else SpeechStarted)
        assert event.at >= now - 1e-9
        now = event.at
        if isinstance(event, SpeechStopped):
            assert event.known >= event.at
            now = event.known


@given(CONFIGS, FRAMES)
def test_every_start_has_its_onset_of_voice(config: VadConfig, frames: list[float | None]) -> None:
    for event in play(config, frames):
        if isinstance(event, SpeechStarted):
            first = round(event.at / FRAME)
            needed = max(1, int(config.onset_seconds / FRAME))
            assert all(p is not None and p >= config.threshold for p in frames[first : first + needed])


@given(CONFIGS, FRAMES)
def test_stops_follow_voice_and_then_none(config: VadConfig, frames: list[float | None]) -> None:
    for event in play(config, frames):
        if isinstance(event, SpeechStopped):
            last, known = round(event.at / FRAME), round(event.known / FRAME)
            voiced = frames[last - 1]
            assert voiced is not None
            assert voiced >= config.release
            assert all(p is None or p < config.release for p in frames[last:known])


@given(CONFIGS, FRAMES)
def test_an_alert_ear_starts_at_one_frame_that_may_be_a_voice(config: VadConfig, frames: list[float | None]) -> None:
    segmenter = Segmenter(config)
    for n, probability in enumerate(frames):
        waiting, end = not segmenter.speaking, (n + 1) * FRAME
        event = None if probability is None else segmenter.push(probability, end, alert=True)
        if waiting and probability is not None:
            assert isinstance(event, SpeechStarted) == (probability >= ALERT * config.threshold)
