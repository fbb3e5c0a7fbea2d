"""Log-mel features as Whisper defines them (Radford et al. 2022, section 2.2), for whichever model looks at them."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE = 16000
HOP = 160
_WINDOW = 400


@cache
def _filters(bands: int) -> NDArray[np.float32]:
    """Triangular filters on Slaney's mel scale with unit area, shape (bands, 201)."""
    linear_step, knee, log_step = 200 / 3, 1000.0, np.log(6.4) / 27
    top = knee / linear_step + np.log(RATE / 2 / knee) / log_step
    mels = np.linspace(0.0, top, bands + 2)
    above = knee * np.exp(log_step * (mels - knee / linear_step))
    hertz = np.where(mels < knee / linear_step, mels * linear_step, above)
    bins = np.fft.rfftfreq(_WINDOW, 1 / RATE)
    left, centre, right = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    shape = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    filters: NDArray[np.float32] = (np.maximum(shape, 0.0) * 2 / (right - left)).astype(np.float32)
    return filters


def log_mel(samples: NDArray[np.float32], bands: int = 80) -> NDArray[np.float32]:
    """Features of 16 kHz audio.

    Args:
        samples: float32 in [-1, 1), shape (n,), n > 0.
        bands: mel bands, 80 or 128.

    Returns:
        float32, shape (bands, ceil(n / 160)): one column every 10 ms, limited to 80 dB below the loudest and scaled
        to about [-1, 1].
    """
    count = -(-len(samples) // HOP)
    padded = np.pad(samples, (_WINDOW // 2, _WINDOW // 2 + count * HOP - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP][:count]
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    logs = np.log10(np.maximum(power.astype(np.float32) @ _filters(bands).T, 1e-10))
    scaled = (np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0
    return np.ascontiguousarray(scaled.T, dtype=np.float32)
