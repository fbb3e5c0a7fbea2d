"""Spoiled recordings: as loud as they should be, and the same every time."""

from pathlib import Path

import numpy as np
import pytest

from streams.audio import Audio, from_floats, resample, silence, write
from voice.evaluation import conditions
from voice.evaluation.conditions import RATE, Condition, ConditionError, active_level, in_room, parse, with_noise
from voice.evaluation.manifest import Clip, ManifestError, chosen, read_manifest, sounds, spread
from voice.realtime.codec import Format

CLIP = Clip("x", Path("x.wav"), "speech", "en", "hello", None, None, None, True, "c", "s")
TONE = 0.2 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)


def speech() -> Audio:
    """A second of tone among silence."""
    return from_floats(np.concatenate([np.zeros(RATE), TONE, np.zeros(RATE)]), RATE)


def noise(kind: str) -> list[Audio]:
    return [from_floats(np.random.default_rng(3).normal(0, 0.1, RATE // 2), RATE)]


def test_active_level_leaves_silence_out() -> None:
    assert active_level(speech().floats().astype(np.float64)) == pytest.approx(0.2 / np.sqrt(2), rel=0.02)
    assert active_level(np.zeros(RATE)) == 0


@pytest.mark.parametrize("ratio", [10.0, 0.0, -5.0])
def test_noise_is_as_loud_as_asked(ratio: float) -> None:
    clean = speech().floats().astype(np.float64)
    mixed = with_noise(clean, noise("")[0].floats().astype(np.float64), ratio, np.random.default_rng(0))
    rest = mixed - clean
    found = 20 * np.log10(active_level(clean) / np.sqrt(np.mean(rest**2)))
    assert found == pytest.approx(ratio, abs=0.1)


def test_a_room_neither_delays_nor_changes_the_level() -> None:
    response = np.zeros(RATE // 4)
    response[100], response[3000] = 1.0, 0.5
    clean = speech().floats().astype(np.float64)
    wet = in_room(clean, response)
    assert np.flatnonzero(np.abs(wet) > 0.01)[0] == pytest.approx(np.flatnonzero(np.abs(clean) > 0.01)[0], abs=30)
    assert active_level(wet) == pytest.approx(active_level(clean), rel=0.01)


def test_the_telephone_lets_its_band_through() -> None:
    heard = parse("telephone", noise)
    low = 0.2 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)
    sound = heard.sound(CLIP, from_floats(TONE + low, RATE), 0.0, 0.0)
    assert (sound.rate, heard.format) == (8000, Format.PCMU)
    spectrum = np.abs(np.fft.rfft(sound.floats()))
    assert spectrum[100] < 0.02 * spectrum[1000]
    assert np.abs(heard.coded(sound).floats() - sound.floats()).max() < 0.02


@pytest.mark.parametrize("spec", ["clean", "noise:10", "babble:-5", "room", "telephone"])
def test_conditions_say_the_same_again_and_keep_the_length(spec: str) -> None:
    condition = parse(spec, noise)
    first, again = (condition.sound(CLIP, speech(), 0.5, 1.0) for _ in range(2))
    assert condition.name == spec
    assert first.seconds == pytest.approx(4.5)
    assert np.array_equal(first.samples, again.samples)


def test_clean_is_clean() -> None:
    sound = Condition().sound(CLIP, speech(), 0.0, 0.0)
    assert np.array_equal(sound.samples, resample(speech(), RATE).samples)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("rain", "unknown; give clean, noise:SNR"),
        ("clean:3", "unknown"),
        ("noise", "no ratio in decibels"),
        ("noise:loud", "no ratio in decibels"),
    ],
)
def test_wrong_conditions(spec: str, complaint: str) -> None:
    with pytest.raises(ConditionError, match=complaint):
        parse(spec, noise)


def test_a_condition_without_its_sound() -> None:
    with pytest.raises(ConditionError, match="no clip of kind rir; give --room FILE"):
        parse("room", lambda kind: [])


def test_silence_with_noise_stays_silence() -> None:
    found = with_noise(np.zeros(RATE), np.zeros(100), 10, np.random.default_rng(0))
    assert not found.any()
    assert conditions.active_level(found) == 0


# Manifests --------------------------------------------------------------------------------------------------


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    write(tmp_path / "a.wav", silence(0.5, 16000))
    return tmp_path / "manifest.jsonl"


def test_a_manifest_may_say_much_or_little(manifest: Path) -> None:
    manifest.write_text(
        '{"file": "a.wav"}\n\n'
        '{"id": "b", "file": "a.wav", "kind": "noise", "language": "", "licence": "CC0", "check": {"vad_onset": 0.1}}\n'
        '{"id": "c", "file": "a.wav", "transcript": "hi", "language": "fr", "vad_offset": 2,'
        ' "check": {"vad_offset": 1}}\n'
        '{"id": "d", "file": "a.wav", "check": {"vad_offset": 1, "align_agrees_with_vad": false}}\n'
    )
    (manifest.parent / "word_times.json").write_text('{"c": [["hi", 0.1, 0.2]]}')
    a, b, c, d = read_manifest(manifest)
    assert (a.id, a.kind, a.language, a.trusted) == ("a.wav", "speech", "en", True)
    assert (b.talks, b.onset) == (False, 0.1)
    assert (c.language, c.offset, c.trusted, c.words) == ("fr", 2, True, (("hi", 0.1, 0.2),))
    assert (d.offset, d.trusted) == (1, False)
    assert chosen([a, b, c], kinds=["speech", "noise"]) == [b, c], "speech without a transcript cannot be scored"
    assert chosen([b, c], kinds=["speech", "noise"], languages=["en"]) == [b]
    assert a.audio().seconds == 0.5
    assert len(sounds([a, b, c], "noise")) == len(sounds([a], str(a.path))) == 1
    assert sounds([a], "nix") == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no clips; write one JSON object a line"),
        ('{"file": "a.wav"}\n{"file": "b.wav"}', "line 2: .*b.wav: no such file"),
        ('{"file": "a.wav"}\n{"file": "a.wav"}', "line 2: a second clip is called a.wav"),
        ('{"kind": "speech"}', "line 1: .*`file`"),
        ("nonsense", "line 1: "),
        ('{"file": "a.wav", "check": {"vad_onset": "soon"}}', "line 1: .*vad_onset"),
    ],
)
def test_mistakes_in_a_manifest(manifest: Path, text: str, complaint: str) -> None:
    manifest.write_text(text)
    with pytest.raises(ManifestError, match=complaint):
        read_manifest(manifest)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="give a file of JSON lines"):
        read_manifest(tmp_path / "nix.jsonl")


def test_a_clip_that_is_no_sound(manifest: Path) -> None:
    (manifest.parent / "b.wav").write_text("no sound")
    manifest.write_text('{"file": "b.wav"}')
    with pytest.raises(ManifestError, match=r"clip b\.wav: .*take the line out"):
        read_manifest(manifest)[0].audio()


def test_word_times_that_are_none(manifest: Path) -> None:
    manifest.write_text('{"file": "a.wav"}')
    (manifest.parent / "word_times.json").write_text("[]")
    with pytest.raises(ManifestError, match=r"word_times\.json: not an object"):
        read_manifest(manifest)


def test_spreading() -> None:
    clips = [CLIP] * 10
    assert len(spread(clips, 3)) == 3
    assert spread(clips, None) == spread(clips, 20) == clips
