"""What is shown of a growing transcript, and what is kept."""

import pytest

from voice.agreement import Agreement, delta, plain
from voice.events import Hypothesis, Word


def said(text: str, start: float = 0.0) -> Hypothesis:
    """A hypothesis with a word every half second."""
    return Hypothesis(tuple(Word(word, start + n / 2, start + n / 2 + 0.4) for n, word in enumerate(text.split())))


def shown(*texts: str) -> list[tuple[str, str]]:
    agreement = Agreement()
    transcripts = [agreement.partial(said(text), 0.0, float(n)) for n, text in enumerate(texts)]
    return [(transcript.stable, transcript.tentative) for transcript in transcripts]


def test_words_that_two_hypotheses_share_are_stable() -> None:
    assert shown("ask", "ask what", "ask not what your", "ask not what you can") == [
        ("", "ask"),
        ("ask", "what"),
        ("ask", "not what your"),
        ("ask not what", "you can"),
    ]


def test_case_and_punctuation_do_not_matter() -> None:
    assert shown("Hello", "hello, World", "Hello world. How")[-1] == ("hello, world.", "How")


def test_the_full_stop_of_a_cut_off_sentence_is_not_stable() -> None:
    assert shown("And so my.", "And so my.", "And so my fellow") == [
        ("", "And so my."),
        ("And so my", ""),
        ("And so my", "fellow"),
    ]


def test_one_hypothesis_in_between_resets_the_count() -> None:
    assert shown("yes", "", "yes", "yes")[-2:] == [("", "yes"), ("yes", "")]


def test_a_stable_word_heard_as_two_does_not_shift_the_rest() -> None:
    texts = ["the twentieth time", "the twentieth time", "the twenty eth time that", "the twenty eth time that evening"]
    assert shown(*texts)[-1] == ("the twentieth time that", "evening")


def test_a_stable_word_that_disappears_stays_shown() -> None:
    assert shown("one two three", "one two three", "one three four", "one three four")[-1] == ("one two three four", "")


def test_the_final_text_is_the_final_hypothesis() -> None:
    agreement = Agreement()
    for text in ("ice cream", "ice cream please"):
        agreement.partial(said(text), 0.0, 1.0)
    final = agreement.finish(said("I scream, please."), 0.0, 1.5)
    assert (final.stable, final.tentative, final.final, final.upto) == ("I scream, please.", "", True, 1.5)


def test_words_before_the_window_stand() -> None:
    agreement = Agreement()
    for _ in range(2):
        agreement.partial(said("one two three four"), 0.0, 2.0)
    assert agreement.partial(said("three four five", start=1.0), 1.0, 3.0).tentative == "five"
    assert agreement.partial(said("three four five six", start=1.0), 1.0, 3.0).stable == "one two three four five"
    assert agreement.finish(said("Three, four, five.", start=1.0), 1.0, 3.0).stable == "one two Three, four, five."


def test_agreed_words_keep_their_times() -> None:
    agreement = Agreement()
    agreement.partial(said("one two"), 0.0, 1.0)
    agreement.partial(said("one two"), 0.0, 1.0)
    assert [(word.text, word.start) for word in agreement.words] == [("one", 0.0), ("two", 0.5)]


@pytest.mark.parametrize(
    ("before", "after", "appended"),
    [
        ("", "hello", "hello"),
        ("hello", "hello there", " there"),
        ("hello", "hello", ""),
        ("see you", "see you?", "?"),
        ("i see", "I see, yes.", " yes."),
        ("ice cream", "I scream, please.", ""),
        ("one two", "one", ""),
    ],
)
def test_delta_appends_or_does_nothing(before: str, after: str, appended: str) -> None:
    assert delta(before, after) == appended


def test_plain_keeps_vowel_signs_and_accents() -> None:
    assert plain("«Déjà!»") == "déjà"
    assert plain("हिन्दी।") == "हिन्दी"
