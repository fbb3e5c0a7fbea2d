"""Whether the caller has finished, heard from the voice: smart-turn v3, a Whisper encoder trained for that question."""

import time
from functools import partial
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from streams.audio import Audio
from streams.lane import LaneFull
from voice.engines import EngineError, Setup
from voice.engines.mel import HOP, RATE, log_mel
from voice.events import Priority

SECONDS = 8
"""What the model looks at; shorter audio is preceded by zeros."""


class SmartTurn:
    """smart-turn v3.2 (int8, 23 languages), computed on `setup.lane`. Folder: one .onnx file.

    Raises:
        EngineError: on entering, when the model does not load.
    """

    name = "smart-turn"

    def __init__(self, setup: Setup) -> None:
        self._folder = setup.model(setup.config.endpoint.model)
        self._lane = setup.lane
        self._tap = setup.tap
        self._session: Any = None

    async def __aenter__(self) -> Self:
        await self._lane.run(self._load, priority=Priority.FINAL, session="")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._session = None

    def _load(self) -> None:
        files = sorted(self._folder.glob("*.onnx"))
        if len(files) != 1:
            raise EngineError(f"endpoint.model: {len(files)} .onnx files in {self._folder} where one is needed")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
            self._judge(Audio(np.zeros(RATE, np.int16), RATE))
        except Exception as error:  # the library's errors share no narrower base
            raise EngineError(
                f"{files[0]}: does not load as a smart-turn v3 model ({error}); "
                "give one with an input [1, 80, 800] and a probability as output"
            ) from error

    async def judge(self, audio: Audio, *, session: str) -> float:
        """See `voice.engines.TurnModel`."""
        if audio.rate != RATE:
            raise EngineError(f"audio at {audio.rate} Hz: the turn model takes {RATE} Hz; resample it first")
        try:
            probability, seconds = await self._lane.run(
                partial(self._judge, audio), priority=Priority.FINAL, session=session
            )
        except LaneFull as full:
            raise EngineError("the turn model has more pauses to judge than it can; the fixed silence counts") from full
        self._tap.observe("engine_seconds", seconds, engine="endpoint", job="pause")
        return probability

    def _judge(self, audio: Audio) -> tuple[float, float]:
        """The probability, and the seconds it took."""
        began = time.perf_counter()
        given = {"input_features": features(audio)[None]}
        probability = float(self._session.run(None, given)[0].item())
        return min(max(probability, 0.0), 1.0), time.perf_counter() - began


def features(audio: Audio) -> NDArray[np.float32]:
    """What the model looks at: float32, shape (80, 800).

    As in WhisperFeatureExtractor(chunk_length=8, do_normalize=True): the last 8 s, preceded by zeros where there is
    less, at mean 0 and variance 1, zeros included; then Whisper's log-mel.
    """
    samples = np.zeros(SECONDS * RATE, np.float32)
    heard = audio.floats()[-len(samples) :]
    if len(heard):
        samples[-len(heard) :] = heard
    samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    edge = 2 * HOP  # the extractor mirrors the audio at both ends
    return np.ascontiguousarray(log_mel(np.pad(samples, edge, mode="reflect"))[:, 2:-2])
