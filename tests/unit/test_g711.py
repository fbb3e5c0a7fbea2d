"""G.711 against the standard's own properties and known values."""

from collections.abc import Callable

import numpy as np
import pytest

from streams.audio import Samples
from streams.g711 import decode_alaw, decode_mulaw, encode_alaw, encode_mulaw

Decode = Callable[[bytes], Samples]
Encode = Callable[[Samples], bytes]
CODES = bytes(range(256))
ALL = np.arange(-32768, 32768).astype(np.int16)


def int16(*values: int) -> Samples:
    return np.array(values, np.int16)


def test_known_values() -> None:
    assert list(decode_mulaw(b"\xff\x7f\x80\x00")) == [0, 0, 32124, -32124]
    assert list(decode_alaw(b"\xd5\x55\xaa\x2a")) == [8, -8, 32256, -32256]
    assert encode_mulaw(int16(0, 32767, -32768)) == b"\xff\x80\x00"
    assert encode_alaw(int16(0, 32767, -32768)) == b"\xd5\xaa\x2a"


def test_codes_survive_a_round_trip() -> None:
    assert encode_alaw(decode_alaw(CODES)) == CODES
    there = encode_mulaw(decode_mulaw(CODES))
    assert there == CODES.replace(b"\x7f", b"\xff"), "mu-law has two zeros; the positive one is written"


@pytest.mark.parametrize(("encode", "decode"), [(encode_mulaw, decode_mulaw), (encode_alaw, decode_alaw)])
def test_the_error_is_at_most_half_a_step(encode: Encode, decode: Decode) -> None:
    """16 steps for each doubling: half a step is 1/32 of the value, and of the linear part's size near zero."""
    error = np.abs(decode(encode(ALL)).astype(np.int32) - ALL)
    assert np.all(error <= (np.abs(ALL.astype(np.int32)) + 256) / 32)


@pytest.mark.parametrize(("encode", "decode"), [(encode_mulaw, decode_mulaw), (encode_alaw, decode_alaw)])
def test_louder_stays_louder(encode: Encode, decode: Decode) -> None:
    assert np.all(np.diff(decode(encode(ALL)).astype(np.int32)) >= 0)
