"""What is shown of a growing transcript, and what is promised."""

import pytest

from voice.agreement import CERTAIN, LONG_AGO, SURE, Agreement, delta, plain
from voice.events import Hypothesis, Transcript, Word

DOUBTED = min(CERTAIN, SURE) - 0.1


def said(text: str, start: float = 0.0, confidence: float = 1.0) -> Hypothesis:
    """A hypothesis with a word every half second."""
    words = (Word(word, start + n / 2, start + n / 2 + 0.4, confidence) for n, word in enumerate(text.split()))
    return Hypothesis(tuple(words))


def quick(agreement: Agreement, text: str, start: float = 0.0, confidence: float = 1.0) -> Transcript:
    """Heard in audio that ends one second after the last word."""
    hypothesis = said(text, start, confidence)
    return agreement.quick(hypothesis, start, start + len(hypothesis.words) / 2 + 1.0)


def thorough(
    agreement: Agreement, text: str, upto: float, start: float = 0.0, confidence: float = 1.0, *, final: bool = False
) -> Transcript:
    return agreement.thorough(said(text, start, confidence), start, upto, final=final)


def shown(*texts: str, confidence: float = 1.0) -> list[str]:
    """What may still change after each quick look from the beginning."""
    agreement = Agreement()
    return [quick(agreement, text, confidence=confidence).tentative for text in texts]


def test_the_first_word_is_shown_at_once() -> None:
    assert shown("ask") == ["ask"]


def test_a_sure_word_is_shown_once_another_follows_it() -> None:
    assert shown("ask not", "ask not what your") == ["ask", "ask not what"]


def test_a_doubted_word_is_shown_when_it_was_heard_twice() -> None:
    assert shown("ask not what", "ask not what your", confidence=DOUBTED) == ["ask", "ask not what"]


def test_a_doubted_word_that_is_heard_otherwise_is_not_shown() -> None:
    agreement = Agreement()
    quick(agreement, "I", confidence=DOUBTED)
    quick(agreement, "I scream", confidence=DOUBTED)
    assert quick(agreement, "I scheme again", confidence=DOUBTED).tentative == "I"


def test_words_that_two_quick_looks_share_stand_against_a_third() -> None:
    assert shown("ask not what", "ask not what your", "asked not what your country")[-1] == "ask not what your"


def test_case_and_punctuation_do_not_count_as_otherwise() -> None:
    assert shown("Hello there", "hello, there", "hello there. How are")[-1] == "hello, there. How"


def test_the_full_stop_of_a_cut_off_sentence_does_not_stand() -> None:
    assert shown("And so my.", "And so my.", "And so my fellow") == ["And so", "And so my.", "And so my"]


def test_a_word_heard_as_two_does_not_shift_the_rest() -> None:
    texts = ["the twentieth time that", "the twentieth time that", "the twenty eth time that evening was"]
    assert shown(*texts)[-1] == "the twentieth time that evening"


def test_a_word_that_disappears_stands() -> None:
    assert shown("one two three four", "one two three four", "one three four five six")[-1] == "one two three four five"


def test_quick_looks_promise_nothing() -> None:
    agreement = Agreement()
    for _ in range(5):
        transcript = quick(agreement, "one two three four five six seven eight")
    assert transcript.stable == ""


def test_a_thorough_look_promises_words_with_enough_after_them() -> None:
    transcript = thorough(Agreement(), "one two three four", upto=3.0)
    assert (transcript.stable, transcript.tentative) == ("one two three", "four")


def test_a_thorough_look_overrules_quick_ones() -> None:
    agreement = Agreement()
    for _ in range(3):
        quick(agreement, "ice cream please now")
    transcript = thorough(agreement, "I scream please now", upto=3.0)
    assert (transcript.stable, transcript.tentative) == ("I scream please", "now")


def test_doubted_words_are_promised_the_second_time() -> None:
    agreement = Agreement()
    assert thorough(agreement, "one two three four", upto=3.0, confidence=DOUBTED).stable == ""
    assert thorough(agreement, "one two tree four", upto=3.5, confidence=DOUBTED).stable == "one two"
    assert thorough(agreement, "one two tree four", upto=4.0, confidence=DOUBTED).stable == "one two tree four"


def test_what_was_said_long_ago_is_promised_however_doubted() -> None:
    transcript = thorough(Agreement(), "one two three", upto=0.95 + LONG_AGO, confidence=DOUBTED)
    assert (transcript.stable, transcript.tentative) == ("one two", "three")


def test_the_final_text_is_the_last_hypothesis() -> None:
    agreement = Agreement()
    for text in ("ice cream now", "ice cream please"):
        quick(agreement, text)
    final = thorough(agreement, "I scream, please.", upto=1.5, final=True)
    assert (final.stable, final.tentative, final.final, final.upto) == ("I scream, please.", "", True, 1.5)


def test_the_final_text_keeps_what_was_promised() -> None:
    agreement = Agreement()
    assert thorough(agreement, "ice cream for me and you", upto=3.5).stable == "ice cream for me"
    assert (
        thorough(agreement, "I scream for me and yours.", upto=3.6, final=True).stable == "ice cream for me and yours."
    )


def test_a_final_text_is_no_promise_where_the_caller_goes_on() -> None:
    agreement = Agreement()
    assert thorough(agreement, "And so my.", upto=1.6, final=True).stable == "And so my."
    transcript = thorough(agreement, "And so my fellow Americans", upto=3.3)
    assert transcript.stable + " " + transcript.tentative == "And so my fellow Americans"
    assert (
        thorough(agreement, "And so my fellow Americans.", upto=3.3, final=True).stable == "And so my fellow Americans."
    )


@pytest.mark.parametrize(("final", "shown"), [(False, "one two three four"), (True, "one two")])
def test_a_thorough_look_that_is_not_believed_says_nothing(final: bool, shown: str) -> None:
    """What quick looks heard stands until the caller falls silent, and what thorough ones heard stands then, too."""
    agreement = Agreement()
    thorough(agreement, "one two", upto=2.0, confidence=DOUBTED)
    for _ in range(2):
        quick(agreement, "one two three four", confidence=DOUBTED)
    transcript = thorough(agreement, "", upto=3.2, final=final)
    assert f"{transcript.stable} {transcript.tentative}".strip() == shown


def test_a_decoder_that_stops_in_the_middle_takes_nothing_back() -> None:
    agreement = Agreement()
    thorough(agreement, "the purpose of this test is to give", upto=5.0, confidence=DOUBTED)
    transcript = thorough(agreement, "the purpose of this", upto=6.0, confidence=DOUBTED, final=True)
    assert transcript.stable == "the purpose of this test is to give"
    assert thorough(agreement, "the purpose of this test is", upto=6.0, final=True).stable.endswith("test is")


def test_known_words_that_are_not_in_the_window_take_none_of_its_words() -> None:
    agreement = Agreement()
    thorough(agreement, "one two three four", upto=8.0)
    assert thorough(agreement, "five six seven", upto=8.0, start=4.0, final=True).stable.split()[4:] == [
        "five",
        "six",
        "seven",
    ]


def test_words_before_the_window_stand() -> None:
    agreement = Agreement()
    thorough(agreement, "one two three four", upto=3.9)
    assert quick(agreement, "three four five six", start=1.0).tentative == "five"
    assert thorough(agreement, "three four five six", upto=4.9, start=1.0).stable == "one two three four five six"
    assert thorough(agreement, "Five, six.", upto=5.0, start=2.0, final=True).stable == "one two three four five six"


def test_settled_tells_what_needs_no_more_looking_at() -> None:
    agreement = Agreement()
    assert agreement.settled(10.0, promised=True) == 10.0
    thorough(agreement, "one two three four", upto=3.0)
    assert agreement.settled(10.0, promised=True) == pytest.approx(1.5)
    assert agreement.settled(1.0, promised=True) == pytest.approx(1.0)
    assert agreement.settled(10.0, promised=False) == pytest.approx(10.0)


def test_the_language_is_that_of_the_last_hypothesis() -> None:
    hypothesis = Hypothesis((Word("oui", 0.0, 0.4),), language="fr")
    assert Agreement().quick(hypothesis, 0.0, 1.0).language == "fr"


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
