"""Which texts are doubted, cut or dropped."""

import pytest

from voice.engines.sanity import believable, doubtful, loop, unlooped
from voice.events import Hypothesis, Word


def said(text: str, logprob: float = -0.2, no_speech: float = 0.0) -> Hypothesis:
    words = tuple(Word(word, n / 2, n / 2 + 0.4) for n, word in enumerate(text.split()))
    return Hypothesis(words, logprob=logprob, no_speech=no_speech)


def test_a_plain_sentence_is_not_doubted() -> None:
    assert not doubtful(said("Could I get a large iced latte with oat milk, please?"), 3.0)
    assert not doubtful(said("No, no, no, that is not what I meant."), 2.5)


@pytest.mark.parametrize(
    "found",
    [
        said("who knows", logprob=-1.2),
        said(" ".join("abcdefghijklmnopq")),
        said("I don't know " * 3),
        said("na " * 5),
    ],
)
def test_doubtful(found: Hypothesis) -> None:
    assert doubtful(found, 2.0)


def test_a_loop_is_cut_after_its_first_round() -> None:
    found = said("so I said, " + "and then we, And then we " * 3)
    assert loop(found.words) == (3, 3)
    assert unlooped(found).text == "so I said, and then we,"
    assert unlooped(said("yes yes yes")).text == "yes yes yes"


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
def test_believable(found: Hypothesis, kept: bool) -> None:
    assert believable(found) is kept
