"""The same clips through faster-whisper's own `transcribe`, as everybody runs it."""

import time
from collections.abc import Callable
from pathlib import Path

import faster_whisper

from streams.audio import resample
from voice.evaluation.conditions import Condition
from voice.evaluation.runner import LEAD, TAIL
from voice.evaluation.spans import RATE
from voice.evaluation.take import Take


def transcribe_all(folder: Path, takes: list[Take], conditions: list[Condition], advance: Callable[[], None]) -> None:
    """Fill in `stock` and `stock_seconds`: int8, one thread, greedy, else its defaults.

    Args:
        folder: of the model, a CTranslate2 conversion.
    """
    model = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)
    named = {condition.name: condition for condition in conditions}
    for take in takes:
        condition = named[take.condition]
        said = condition.coded(condition.sound(take.clip, take.clip.audio(), LEAD, TAIL))
        clip = said.span(round(LEAD * said.rate), round((LEAD + take.seconds) * said.rate))
        sound = resample(clip, RATE).floats()
        began = time.process_time()
        segments, _ = model.transcribe(sound, beam_size=1, language=take.clip.language)
        take.stock = " ".join(segment.text.strip() for segment in segments)
        take.stock_seconds = time.process_time() - began
        advance()
