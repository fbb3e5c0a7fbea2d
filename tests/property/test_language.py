"""Which language a caller is known to speak, whatever a recogniser believes to hear."""

from hypothesis import given
from hypothesis import strategies as st

from voice.language import GUESS, LIKELY, LONG, SHORT, SURE, known, presentable

LANGUAGES = st.sampled_from(["en", "fr", "de", "ja"])
BEFORE = LANGUAGES | st.just("")
PROBABILITY = st.floats(0, 1)
SECONDS = st.floats(0, 30)
LOOKS = st.lists(st.tuples(LANGUAGES, PROBABILITY, SECONDS), max_size=12)


def after(before: str, looks: list[tuple[str, float, float]]) -> str:
    for detected, probability, seconds in looks:
        before = known(before, detected, probability, seconds)
    return before


@given(BEFORE, LANGUAGES, PROBABILITY, SECONDS)
def test_it_is_what_it_was_or_what_was_heard(before: str, detected: str, probability: float, seconds: float) -> None:
    assert known(before, detected, probability, seconds) in (before, detected)


@given(
    BEFORE, st.lists(st.tuples(LANGUAGES, st.floats(0, SURE, exclude_max=True), st.floats(0, LONG, exclude_max=True)))
)
def test_no_number_of_short_unsure_utterances_changes_it(before: str, looks: list[tuple[str, float, float]]) -> None:
    assert after(before, looks) == before


@given(BEFORE, LANGUAGES, PROBABILITY, st.floats(0, SHORT, exclude_max=True))
def test_less_than_a_second_says_nothing(before: str, detected: str, probability: float, seconds: float) -> None:
    assert known(before, detected, probability, seconds) == before
    assert not presentable(probability, seconds)


@given(BEFORE, LOOKS, LANGUAGES, st.floats(LIKELY, 1), st.floats(LONG, 30))
def test_a_long_sure_one_does_whatever_came_before(
    before: str, looks: list[tuple[str, float, float]], detected: str, probability: float, seconds: float
) -> None:
    assert known(after(before, looks), detected, probability, seconds) == detected


@given(BEFORE, LOOKS)
def test_what_is_known_is_never_forgotten(before: str, looks: list[tuple[str, float, float]]) -> None:
    assert after(before, looks) or not before


@given(BEFORE, LANGUAGES, PROBABILITY, SECONDS, st.floats(0, 1), st.floats(0, 30))
def test_more_evidence_never_counts_less(
    before: str, detected: str, probability: float, seconds: float, surer: float, longer: float
) -> None:
    if known(before, detected, probability, seconds) == detected:
        assert known(before, detected, max(probability, surer), max(seconds, longer)) == detected


@given(LANGUAGES, PROBABILITY, SECONDS)
def test_what_is_known_may_be_shown(detected: str, probability: float, seconds: float) -> None:
    if known("", detected, probability, seconds):
        assert presentable(probability, seconds)
    assert presentable(probability, seconds) == (probability >= GUESS and seconds >= SHORT)
