"""Where words lie in phonemes and sound; no voice is needed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.engines.spoken import Span, Trimmer, louder, pause_after, place, spell

RATE = 22050


def placed(words: dict[str, str], *sentences: str) -> list[str]:
    """The phonemes found for each word, given what each is alone."""
    spans = place(list(words.values()), [list(sentence) for sentence in sentences])
    return [sentences[span.sentence][span.first : span.last] for span in spans]


def test_words_as_many_as_groups_are_matched_one_by_one() -> None:
    assert placed({"to": "tˈuː", "be": "bˈiː"}, "tə bˈiː.") == ["tə", "bˈiː"]


def test_word_of_several_groups_has_them_all() -> None:
    words = {"the": "ðˈə", "1,000": "wˈʌn θˈaʊzənd", "people": "pˈiːpəl"}
    assert placed(words, "ðə wˈʌn θˈaʊzənd pˈiːpəl") == ["ðə", "wˈʌn θˈaʊzənd", "pˈiːpəl"]


def test_joined_words_share_their_group() -> None:
    words = {"end": "ˈɛnd", "of": "ʌv", "the": "ðə", "day.": "dˈeɪ."}
    assert placed(words, "ˈɛnd ʌvðə dˈeɪ.") == ["ˈɛnd", "ʌv", "ðə", "dˈeɪ"]


def test_equal_counts_by_chance_do_not_shift_words() -> None:
    words = {"in": "ˈɪn", "the": "ðə", "1,000": "wˈʌn θˈaʊzənd", "days": "dˈeɪz"}
    assert placed(words, "ɪnðə wˈʌn θˈaʊzənd dˈeɪz") == ["ɪn", "ðə", "wˈʌn θˈaʊzənd", "dˈeɪz"]


def test_words_find_their_sentence() -> None:
    assert place(["jˈɛs.", "nˈoʊ!"], [list("jˈɛs."), list("nˈoʊ!")]) == [Span(0, 0, 4), Span(1, 0, 4)]


def test_word_without_sound_is_empty_after_the_one_before() -> None:
    spans = place(["hˈaɪ", "", "juː"], [list("hˈaɪ; juː")])
    assert spans == [Span(0, 0, 4), Span(0, 4, 4), Span(0, 6, 9)]


PHONEMES = st.text(alphabet="aɪˈʊpt ,.", max_size=12)


@given(st.lists(PHONEMES, max_size=12), st.lists(PHONEMES.map(list), min_size=1, max_size=4))
def test_spans_are_ordered_and_inside(alone: list[str], said: list[list[str]]) -> None:
    spans = place(alone, said)
    assert len(spans) == len(alone)
    order = [edge for span in spans for edge in ((span.sentence, span.first), (span.sentence, span.last))]
    assert order == sorted(order)
    assert all(0 <= span.first <= span.last <= len(said[span.sentence]) for span in spans)


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("Dr. Smith and J. R. Doe.", "Dr Smith and J R Doe."),
        ("He knows Dr.", "He knows Dr."),
        ("Wait... what", "Wait, what"),
        ("this - that", "this — that"),
        ("[[x]] \x00y", "[x] y"),
        ("It is $3.50, or $1.", "It is 3 dollars 50, or 1 dollar."),
        ("($5) £1,000 €2.05", "(5 dollars) 1,000 pounds 2 euros 5"),
        ("$3.5 million, $5 billion.", "3.5 million dollars, 5 billion dollars."),
    ],
)
def test_spelling(text: str, spelt: str) -> None:
    assert " ".join(spell(text.split())) == spelt


def test_amounts_stay_in_other_languages() -> None:
    assert spell(["$3.50"], english=False) == ["$3.50"]


def tone(before: float, sounding: float, after: float) -> np.ndarray:
    """A tone between silences with a noise floor at -90 dBFS; seconds."""
    floor = np.random.default_rng(0).normal(0, 3e-5, round((before + sounding + after) * RATE))
    first, last = round(before * RATE), round((before + sounding) * RATE)
    floor[first:last] += 0.3 * np.sin(2 * np.pi * 440 * np.arange(last - first) / RATE)
    return floor.astype(np.float32)


def trimmed(samples: np.ndarray, *cuts: int) -> tuple[np.ndarray, int]:
    """What is left of sound that comes in pieces, and how much went before it."""
    trimmer = Trimmer(RATE)
    pieces = np.split(samples, sorted(cuts))
    kept = [trimmer.push(piece, last=number == len(pieces) - 1) for number, piece in enumerate(pieces)]
    return np.concatenate(kept), trimmer.before


def test_trimming_leaves_a_little_silence_and_no_click() -> None:
    kept, before = trimmed(tone(0.3, 0.5, 0.4))
    assert before / RATE == pytest.approx(0.28, abs=0.006)
    assert len(kept) / RATE == pytest.approx(0.58, abs=0.012)
    assert kept[0] == kept[-1] == 0.0


def test_trimming_fades_sound_that_reaches_the_ends() -> None:
    kept, before = trimmed(tone(0.0, 0.2, 0.0), RATE // 10)
    assert before == 0
    assert kept[0] == kept[-1] == 0.0
    assert np.abs(np.diff(kept[:20])).max() < 0.01
    assert np.abs(np.diff(kept[-20:])).max() < 0.01


def test_silence_leaves_nothing() -> None:
    assert len(trimmed(np.zeros(RATE, dtype=np.float32), 5000)[0]) == 0
    assert len(trimmed(np.zeros(3, dtype=np.float32))[0]) == 0


def test_what_sounds_is_let_through_at_once() -> None:
    trimmer = Trimmer(RATE)
    assert len(trimmer.push(tone(0.3, 0.0, 0.0))) == 0
    assert len(trimmer.push(tone(0.0, 0.5, 0.0))) / RATE == pytest.approx(0.52, abs=0.006)
    assert len(trimmer.push(tone(0.0, 0.0, 0.3))) / RATE == pytest.approx(0.055, abs=0.006)
    assert len(trimmer.push(tone(0.0, 0.1, 0.0))) / RATE == pytest.approx(0.345, abs=0.006)


@given(
    st.lists(st.floats(0.0, 0.2), min_size=2, max_size=5),
    st.lists(st.floats(0.0, 1.0), max_size=6),
)
def test_pieces_lose_only_the_silence_around_them(parts: list[float], cuts: list[float]) -> None:
    sound = np.concatenate([tone(before, 0.1, 0.0) for before in parts] + [tone(0.0, 0.0, parts[0])])
    kept, before = trimmed(sound, *(round(cut * len(sound)) for cut in cuts))
    fade = round(0.005 * RATE)
    assert np.array_equal(kept[fade:-fade], sound[before : before + len(kept)][fade:-fade])
    loud = np.flatnonzero(np.abs(sound) > 0.1)
    assert before <= loud[0] < before + 0.03 * RATE
    assert len(kept) - 0.07 * RATE < loud[-1] + 1 - before <= len(kept)


def test_gain_is_the_same_for_all_but_peaks_and_never_clips() -> None:
    level = np.linspace(-1.0, 1.0, 2001, dtype=np.float32)
    raised = louder(level, 1.25)
    usual = np.abs(level) < 0.68
    assert np.allclose(raised[usual], 1.25 * level[usual])
    assert np.abs(raised).max() < 0.98
    assert (np.diff(raised) > 0).all()
    assert np.abs(np.diff(raised)).max() < 1.26 * 0.001


def test_pause_follows_punctuation() -> None:
    assert (
        pause_after("end.") == pause_after('so?"') == pause_after("Dr.") > pause_after("so,") > pause_after("so") == 0
    )
