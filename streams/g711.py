"""G.711 companding (ITU-T G.711): telephone audio, 8 bits a sample at 8 kHz."""

import numpy as np
from numpy.typing import NDArray

from streams.audio import Samples

_BIAS = 0x84
_CLIP = 32635


def _mulaw_table() -> Samples:
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + _BIAS) << ((code & 0x70) >> 4)) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Samples:
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code & 0x70) >> 4, (code & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_MULAW, _ALAW = _mulaw_table(), _alaw_table()


def decode_mulaw(data: bytes) -> Samples:
    """mu-law bytes to int16 samples, one each."""
    return _MULAW[np.frombuffer(data, np.uint8)]


def decode_alaw(data: bytes) -> Samples:
    """A-law bytes to int16 samples, one each."""
    return _ALAW[np.frombuffer(data, np.uint8)]


def encode_mulaw(samples: Samples) -> bytes:
    """int16 samples to mu-law bytes, one each."""
    value = samples.astype(np.int32)
    magnitude = np.minimum(np.abs(value), _CLIP) + _BIAS
    exponent = _exponent(magnitude >> 7)
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(value < 0, 0x80, 0)
    code: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return code.tobytes()


def encode_alaw(samples: Samples) -> bytes:
    """int16 samples to A-law bytes, one each."""
    value = samples.astype(np.int32)
    magnitude = np.minimum(np.where(value < 0, ~value, value), 32767)
    exponent = _exponent(magnitude >> 7)
    mantissa = np.where(exponent == 0, magnitude >> 4, magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(value < 0, 0, 0x80)
    code: NDArray[np.uint8] = ((sign | (exponent << 4) | mantissa) ^ 0x55).astype(np.uint8)
    return code.tobytes()


def _exponent(value: NDArray[np.int32]) -> NDArray[np.int32]:
    """Position of the highest set bit of values below 256 (0 for 0)."""
    return np.floor(np.log2(np.maximum(value, 1))).astype(np.int32)
