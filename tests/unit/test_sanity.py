"""Which texts are doubted, cut or dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.engines.sanity import BRIEF, believable, doubtful, once
from voice.events import Hypothesis, Word


def said(
    text: str, logprob: float = -0.2, no_speech: float = 0.0, confidence: float = 0.9, each: float = 0.4
) -> Hypothesis:
    """One word every half second that takes `each` seconds."""
    words = tuple(Word(word, n / 2, n / 2 + each, confidence) for n, word in enumerate(text.split()))
    return Hypothesis(words, logprob=logprob, no_speech=no_speech)


def spoken(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def test_a_plain_sentence_is_not_doubted() -> None:
    assert not doubtful(said("Could I get a large iced latte with oat milk, please?"), 3.0)
    assert not doubtful(said("No, no, no, that is not what I meant."), 2.5)


@pytest.mark.parametrize(
    "found",
    [
        said("who knows", logprob=-1.2),
        said(" ".join("abcdefghijklmnopq")),
        said("I do not know at all " * 8),
        said("one two three", each=0.02),
    ],
)
def test_doubtful(found: Hypothesis) -> None:
    assert doubtful(found, 2.0)


def test_what_is_said_again_without_time_for_it_is_cut() -> None:
    first = said("turn on the light").words
    again = tuple(Word(word.text, 2.0, 2.02) for word in first)
    assert once(first + again) == first


def test_what_a_speaker_says_twice_stays() -> None:
    words = said("turn it off, turn it off, please").words
    assert once(words) == words
    assert spoken(once(said("yes yes yes").words)) == "yes yes yes"


def test_a_loop_is_cut_whatever_its_pace() -> None:
    assert spoken(once(said("so I said, " + "and then we, And then we " * 3).words)) == "so I said, and then we,"


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (said("Thank you.", -0.2, 0.1), True),
        (said("Thank you.", -0.7, 0.3), True),
        (said("Thank you.", -0.95, 0.1), False),
        (said("Thanks for watching!", -0.2, 0.55), False),
        (said("Turn it off.", -0.95, 0.55), True),
        (said("Turn it off.", -1.1, 0.7), False),
        (said("...", -0.1, 0.0), False),
        (said("", -0.1, 0.0), False),
    ],
)
@pytest.mark.parametrize("quick", [True, False])
def test_believable(found: Hypothesis, kept: bool, quick: bool) -> None:
    assert believable(found, 2.0, quick=quick) is kept


@pytest.mark.parametrize(
    ("text", "logprob", "no_speech", "confidence", "seconds"),
    [
        ("I'm going to go through the two of", -0.27, 0.84, 0.22, 14.9),
        ("8 of the 4 of 12 of the 7 of the 5", -0.78, 0.43, 0.38, 3.7),
        ("Just make a roll.", -1.46, 0.51, 0.22, 2.5),
    ],
)
@pytest.mark.parametrize("quick", [True, False])
def test_fluent_words_over_babble_are_not_believed(
    text: str, logprob: float, no_speech: float, confidence: float, seconds: float, quick: bool
) -> None:
    assert not believable(said(text, logprob, no_speech, confidence), seconds, quick=quick)


@pytest.mark.parametrize(
    ("text", "logprob", "no_speech", "confidence", "seconds"),
    [
        ("9", -0.24, 0.45, 0.2, 0.8),
        ("Ask not!", -0.84, 0.44, 0.31, 1.4),
        ("that from in the night say", -0.74, 0.22, 0.47, 2.2),
    ],
)
def test_faint_words_of_a_caller_are_believed_at_a_pause(
    text: str, logprob: float, no_speech: float, confidence: float, seconds: float
) -> None:
    assert believable(said(text, logprob, no_speech, confidence), seconds, quick=False)


share = st.floats(0, 1)


@given(share, share, share, share, st.floats(0.1, 28), st.booleans())
def test_better_evidence_is_never_believed_less(
    no_speech: float, less: float, confidence: float, more: float, seconds: float, quick: bool
) -> None:
    def asked(no_speech: float, confidence: float) -> bool:
        return believable(said("Turn it off.", -0.5, no_speech, confidence), seconds, quick=quick)

    before = asked(max(no_speech, less), min(confidence, more))
    after = asked(min(no_speech, less), max(confidence, more))
    assert after or not before


@given(share, share, st.floats(BRIEF, 28))
def test_what_stands_at_a_pause_would_have_been_shown(no_speech: float, confidence: float, seconds: float) -> None:
    found = said("Turn it off.", -0.5, no_speech, confidence)
    assert believable(found, seconds, quick=True) or not believable(found, seconds, quick=False)
