"""Pieces of audio, files, and rates."""

import io
from pathlib import Path

import numpy as np
import pytest

from streams.audio import Audio, Resampler, from_floats, join, read, resample, seconds_of, silence, write


def ramp(length: int, rate: int = 8000, start: int = 0) -> Audio:
    return Audio(np.arange(length, dtype=np.int16), rate, start)


def tone(seconds: float, rate: int, hertz: float = 440.0) -> Audio:
    return from_floats(0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), rate)


def test_a_piece_knows_its_place_and_length() -> None:
    piece = ramp(800, start=100)
    assert (piece.end, piece.seconds, seconds_of(piece)) == (900, 0.1, 0.1)


def test_floats_and_back() -> None:
    extremes = Audio(np.array([-32768, -1, 0, 1, 32767], np.int16), 8000)
    assert list(from_floats(extremes.floats(), 8000).samples) == [-32768, -1, 0, 1, 32767]
    assert list(from_floats(np.array([-9.0, 9.0]), 8000).samples) == [-32768, 32767]


def test_silence_is_as_long_as_said() -> None:
    quiet = silence(0.25, 16000, start=7)
    assert (len(quiet.samples), quiet.start, np.any(quiet.samples)) == (4000, 7, False)


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_lossless_files_return_what_was_written(kind: str, tmp_path: Path) -> None:
    piece = tone(0.2, 16000)
    write(tmp_path / "tone", piece, kind)
    back = read(tmp_path / "tone")
    assert back.rate == 16000
    assert np.array_equal(back.samples, piece.samples)


def test_mp3_is_read_and_stereo_becomes_mono() -> None:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.column_stack([np.full(16000, 0.5), np.zeros(16000)]), 16000, format="WAV")
    file.seek(0)
    assert np.all(read(file).samples == 8192)
    file = io.BytesIO()
    write(file, tone(1.0, 16000), "MP3")
    file.seek(0)
    assert read(file).seconds == pytest.approx(1.0, abs=0.2)


def test_a_file_that_is_no_audio_says_so(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir")
    with pytest.raises(ValueError, match=r"letter\.txt: not readable as audio"):
        read(tmp_path / "letter.txt")


@pytest.mark.parametrize("target", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("source", [8000, 22050, 24000, 48000])
def test_a_stream_at_another_rate_stays_aligned(source: int, target: int) -> None:
    """The resampled tone is the tone sampled at the target rate: nothing is shifted, and nothing is missing."""
    given, expected = tone(1.0, source), tone(1.0, target)
    resampler = Resampler(source, target)
    pieces = [resampler.push(piece.samples) for piece in given.frames(source // 50)]
    pieces.append(resampler.push(np.zeros(0, np.int16), last=True))
    whole = join(pieces)
    assert [piece.start for piece in pieces] == [0, *np.cumsum([len(piece.samples) for piece in pieces])[:-1]]
    assert abs(len(whole.samples) - target) <= 1
    middle = slice(target // 10, -target // 10)
    error = whole.floats()[: len(expected.samples)] - expected.floats()[: len(whole.samples)]
    assert np.abs(error[middle]).max() < 0.01


def test_a_whole_piece_at_another_rate_starts_at_the_same_moment() -> None:
    piece = Audio(tone(0.5, 24000).samples, 24000, start=24000)
    other = resample(piece, 16000)
    assert (other.rate, other.start, len(other.samples)) == (16000, 16000, 8000)
    assert resample(piece, 24000) is piece
