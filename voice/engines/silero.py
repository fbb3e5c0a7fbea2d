"""Voice activity detection with Silero v6: one session for all callers, a small array of state for each."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime

from streams.audio import Audio
from voice.engines import EngineError, Setup

RATE = 16000
FRAME = 512
"""Samples per probability."""
CONTEXT = 64
"""Samples of the frame before that the network sees again."""


class SileroVad:
    """Silero v6 as faster-whisper ships it; about 60 us per frame, so it runs on the event loop.

    There is no WebRTC detector in front of it: over 21 minutes that would have spared 6 % of the frames and hidden
    0.05 % of those with speech.

    Raises:
        EngineError: on entering, when the model file is missing.
    """

    name = "silero"

    def __init__(self, setup: Setup) -> None:
        self._session: Any = None

    async def __aenter__(self) -> Self:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model_file(), options, providers=["CPUExecutionProvider"])
        self.stream().push(Audio(np.zeros(FRAME, np.int16), RATE))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._session = None

    def stream(self) -> "SileroStream":
        """A fresh stream for one caller."""
        return SileroStream(self._session)


class SileroStream:
    """One caller's view: the samples of an incomplete frame with the context before it, and the network's memory."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._seen = np.zeros(CONTEXT, np.float32)
        self._h = np.zeros((1, 1, 128), np.float32)
        self._c = np.zeros((1, 1, 128), np.float32)

    def push(self, audio: Audio) -> list[float]:
        """Speech probability for each complete frame of 512 samples since the last call.

        Raises:
            EngineError: the audio is not at 16 kHz.
        """
        if audio.rate != RATE:
            raise EngineError(f"audio at {audio.rate} Hz: voice detection takes {RATE} Hz; resample it first")
        samples = np.concatenate([self._seen, audio.floats()])
        count = (len(samples) - CONTEXT) // FRAME
        self._seen = samples[count * FRAME :]
        if count == 0:
            return []
        frames = np.lib.stride_tricks.sliding_window_view(samples, CONTEXT + FRAME)[::FRAME]
        speech, self._h, self._c = self._session.run(
            None, {"input": np.ascontiguousarray(frames), "h": self._h, "c": self._c}
        )
        return [float(probability) for probability in speech.ravel()]


def model_file() -> str:
    """Path of the network inside the faster-whisper package, found without importing it."""
    spec = find_spec("faster_whisper")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    file = folder / "assets" / "silero_vad_v6.onnx"
    if not file.is_file():
        raise EngineError(f"{file}: missing; install faster-whisper 1.2.1 or later, which holds the Silero v6 model")
    return str(file)
