"""Where a recording has speech, by the voice detector alone."""

from itertools import pairwise

from streams.audio import Audio, join, resample, silence
from voice.config import VadConfig
from voice.engines import Vad
from voice.events import SpeechStarted, SpeechStopped
from voice.vad import FRAME, Segmenter

RATE = 16_000
PAUSE = 0.2
"""Seconds without voice that make a pause."""


def speech_spans(vad: Vad, audio: Audio) -> list[tuple[float, float]]:
    """Stretches of speech, (from, to) in seconds, with pauses of at least `PAUSE` between them."""
    heard = resample(audio, RATE)
    padded = join([heard, silence(1.0, RATE, heard.end)])
    segmenter, spans, begun, end = Segmenter(VadConfig(pause_seconds=FRAME)), list[tuple[float, float]](), 0.0, 0.0
    stream = vad.stream()
    for probability in stream.push(padded):
        end += FRAME
        match segmenter.push(probability, end):
            case SpeechStarted(at):
                begun = at
            case SpeechStopped(at):
                spans.append((begun, at))
            case None:
                pass
    return _joined(spans)


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same without gaps shorter than a pause."""
    cuts = [(end, start) for (_, end), (start, _) in pairwise(spans) if start - end >= PAUSE]
    if not spans:
        return []
    starts = [spans[0][0], *(start for _, start in cuts)]
    ends = [*(end for end, _ in cuts), spans[-1][1]]
    return list(zip(starts, ends, strict=True))
