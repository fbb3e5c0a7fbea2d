"""What holds of the shown text whatever the recogniser says."""

from hypothesis import given
from hypothesis import strategies as st

from voice.agreement import Agreement, delta, plain
from voice.events import Hypothesis, Word

TOKENS = st.sampled_from(["a", "A", "a,", "b", "b.", "c", "d?", "it's", "-", "é", "दिन"])
HYPOTHESES = st.lists(TOKENS, max_size=8).map(
    lambda texts: Hypothesis(tuple(Word(text, float(n), n + 0.9) for n, text in enumerate(texts)))
)
STEPS = st.lists(st.tuples(HYPOTHESES, st.integers(0, 8)), max_size=12)
"""Hypotheses, and where the audio they are about began."""


@given(STEPS)
def test_stable_text_only_grows_by_appending(steps: list[tuple[Hypothesis, int]]) -> None:
    agreement, stable = Agreement(), ""
    for hypothesis, start in steps:
        now = agreement.partial(hypothesis, float(start), 10.0).stable
        assert now.startswith(stable)
        assert stable + delta(stable, now) == now
        stable = now


@given(STEPS)
def test_stable_words_were_in_two_hypotheses_in_a_row(steps: list[tuple[Hypothesis, int]]) -> None:
    agreement, before, count = Agreement(), set[str](), 0
    for hypothesis, start in steps:
        agreement.partial(hypothesis, float(start), 10.0)
        now = {plain(word.text) for word in hypothesis.words}
        assert {plain(word.text) for word in agreement.words[count:]} <= before & now
        before, count = now, len(agreement.words)


@given(STEPS, HYPOTHESES)
def test_saying_it_again_changes_nothing_more(steps: list[tuple[Hypothesis, int]], hypothesis: Hypothesis) -> None:
    agreement = Agreement()
    for earlier, start in steps:
        agreement.partial(earlier, float(start), 10.0)
    agreement.partial(hypothesis, 0.0, 10.0)
    settled = agreement.partial(hypothesis, 0.0, 10.0)
    assert settled.tentative == ""
    assert agreement.partial(hypothesis, 0.0, 10.0) == settled


@given(HYPOTHESES)
def test_a_final_says_what_the_recogniser_said(hypothesis: Hypothesis) -> None:
    assert Agreement().finish(hypothesis, 0.0, 10.0).stable == hypothesis.text


@given(st.lists(TOKENS, max_size=6), st.lists(TOKENS, max_size=6))
def test_appending_a_delta_says_the_same_words(shown: list[str], text: list[str]) -> None:
    before, after = " ".join(shown), " ".join(text)
    appended = delta(before, after)
    if appended:
        assert [plain(word) for word in (before + appended).split()] == [plain(word) for word in after.split()]
