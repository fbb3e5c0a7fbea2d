"""Promises of the wait, whatever was heard."""

from hypothesis import given
from hypothesis import strategies as st

from voice.endpoint import LEAST, LONGEST, QUICKEST, SLOWEST, Eagerness, Pauses, silence_needed

PROBABILITIES = st.floats(0, 1)
EAGERNESS = st.sampled_from(["low", "medium", "high", "auto"])
TEXTS = st.none() | st.text(max_size=20) | st.sampled_from(["and", "yes.", "well,"])
LENGTHS = st.lists(st.floats(0, 60), max_size=30)


def after(lengths: list[float]) -> Pauses:
    pauses = Pauses()
    for length in lengths:
        pauses = pauses.heard(length)
    return pauses


@given(PROBABILITIES, TEXTS, st.sampled_from(["", "en", "de", "xx"]), LENGTHS, EAGERNESS)
def test_the_wait_is_bounded(
    probability: float, text: str | None, language: str, lengths: list[float], eagerness: Eagerness
) -> None:
    wait = silence_needed(probability, text, language, after(lengths), eagerness)
    assert LEAST <= wait <= LONGEST[eagerness]


@given(PROBABILITIES, PROBABILITIES, TEXTS, LENGTHS, EAGERNESS)
def test_a_surer_model_never_waits_longer(
    one: float, other: float, text: str | None, lengths: list[float], eagerness: Eagerness
) -> None:
    pauses = after(lengths)
    low, high = sorted((one, other))
    longer, shorter = (silence_needed(sure, text, "en", pauses, eagerness) for sure in (low, high))
    assert longer >= shorter


@given(LENGTHS, st.floats(0, 60), st.floats(0, 60))
def test_a_longer_pause_never_makes_the_wait_shorter(lengths: list[float], one: float, other: float) -> None:
    short, long = sorted((one, other))
    assert after([*lengths, long]).tail <= after([*lengths, short]).tail


@given(LENGTHS)
def test_a_callers_tail_is_bounded_and_fades(lengths: list[float]) -> None:
    pauses = after(lengths)
    assert SLOWEST <= pauses.tail <= QUICKEST
    for _ in range(60):
        pauses = pauses.faded()
    assert abs(pauses.tail - Pauses().tail) < 1e-6
