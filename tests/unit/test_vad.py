"""Where speech starts and stops, frame by frame."""

import pytest

from voice.config import VadConfig
from voice.events import SpeechStarted, SpeechStopped
from voice.vad import FRAME, Segmenter

CONFIG = VadConfig(threshold=0.5, release=0.35, onset_seconds=0.096, pause_seconds=0.16)


def heard(*probabilities: float) -> list[SpeechStarted | SpeechStopped]:
    segmenter = Segmenter(CONFIG)
    events = (segmenter.push(probability, (n + 1) * FRAME) for n, probability in enumerate(probabilities))
    return [event for event in events if event]


def test_speech_starts_where_its_first_frame_begins() -> None:
    assert heard(0, 0, 1, 1, 1) == [SpeechStarted(pytest.approx(2 * FRAME))]


def test_a_click_does_nothing() -> None:
    assert heard(0, 1, 1, 0, 1, 0.4, 1, 0) == []


def test_speech_stops_after_its_last_frame_once_the_pause_is_long_enough() -> None:
    voice, silence = [1.0] * 5, [0.0] * 5
    assert heard(*voice, *silence[:-1]) == [SpeechStarted(pytest.approx(0))]
    assert heard(*voice, *silence)[-1] == SpeechStopped(pytest.approx(5 * FRAME), known=pytest.approx(10 * FRAME))


def test_between_the_thresholds_speech_goes_on_but_does_not_begin() -> None:
    assert heard(*[0.4] * 20) == []
    assert len(heard(*[1.0] * 3, *[0.4] * 20)) == 1


def test_a_gap_shorter_than_the_pause_belongs_to_the_speech() -> None:
    assert len(heard(*[1.0] * 5, *[0.0] * 4, 0.4, *[0.0] * 4)) == 1


def test_speech_ends_when_packets_stop() -> None:
    segmenter = Segmenter(CONFIG)
    assert segmenter.starve(0.0) is None
    for n in range(4):
        segmenter.push(1.0, (n + 1) * FRAME)
    assert segmenter.speaking
    assert segmenter.starve(0.5) == SpeechStopped(pytest.approx(4 * FRAME), known=0.5)
    assert not segmenter.speaking
    assert segmenter.starve(0.9) is None


def test_an_onset_does_not_reach_across_a_starved_stretch() -> None:
    segmenter = Segmenter(CONFIG)
    segmenter.push(1.0, FRAME)
    segmenter.push(1.0, 2 * FRAME)
    segmenter.starve(1.0)
    assert segmenter.push(1.0, 1.0 + FRAME) is None


def test_the_first_frame_of_an_onset_is_noticed_at_once() -> None:
    segmenter = Segmenter(CONFIG)
    seen = []
    for n, probability in enumerate([0, 1, 0, 1, 1, 1, 1]):
        segmenter.push(probability, (n + 1) * FRAME)
        seen.append(segmenter.rising)
    assert seen == [False, True, False, True, True, False, False], "speech that has begun rises no more"
