"""How long silence must last."""

import pytest

from voice.endpoint import LEAST, LONGEST, Eagerness, Pauses, silence_needed, unfinished

NONE = Pauses()


def paused(*lengths: float) -> Pauses:
    pauses = Pauses()
    for length in lengths:
        pauses = pauses.heard(length)
    return pauses


@pytest.mark.parametrize(
    ("probability", "shortest", "longest"),
    [(0.0, 0.9, 1.2), (0.1, 0.75, 0.95), (0.5, 0.6, 0.8), (0.9, 0.5, 0.65), (1.0, 0.4, 0.55)],
)
def test_the_wait_falls_with_the_probability(probability: float, shortest: float, longest: float) -> None:
    assert shortest <= silence_needed(probability, "Yes.", "en", NONE, "auto") <= longest


def test_an_unfinished_text_is_waited_for() -> None:
    done = silence_needed(0.5, "I would like a coffee.", "en", NONE, "auto")
    assert silence_needed(0.5, "I would like a coffee and", "en", NONE, "auto") > 1.5 * done
    assert silence_needed(0.5, None, "", NONE, "auto") == done


def test_the_eagerness_is_patience() -> None:
    waits = [silence_needed(0.3, None, "", NONE, eagerness) for eagerness in ("high", "medium", "low")]
    assert waits == sorted(waits)
    assert waits[1] == silence_needed(0.3, None, "", NONE, "auto")
    assert waits[2] > 1.4 * waits[1] > 1.8 * waits[0]


@pytest.mark.parametrize(("eagerness", "seconds"), [("high", 2.0), ("medium", 4.0), ("auto", 4.0), ("low", 8.0)])
def test_no_turn_is_waited_for_longer_than_documented(eagerness: Eagerness, seconds: float) -> None:
    slow = paused(*[3.0] * 20)
    assert LONGEST[eagerness] == seconds
    assert silence_needed(0.0, "and", "en", slow, eagerness) == seconds


def test_a_caller_who_pauses_long_is_waited_for() -> None:
    quick, new, slow = paused(0.2, 0.2, 0.2), NONE, paused(0.9, 0.7)
    waits = [silence_needed(0.9, None, "", pauses, "auto") for pauses in (quick, new, slow)]
    assert LEAST < waits[0] < waits[1] < 0.65 < 1.0 < waits[2]


def test_pauses_count_less_from_turn_to_turn() -> None:
    pauses = paused(0.3, 0.3)
    assert pauses.tail < pauses.faded().tail < pauses.faded().faded().tail < NONE.tail


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I would like a coffee and", "en"),
        ("I would like a coffee and.", "en"),
        ("Um.", "en"),
        ("But his...", "en"),
        ("first the milk,", "en"),
        ("well \u2014", "en"),
        ("Ich möchte einen Kaffee und", "de"),
        ("Je voudrais un", "fr"),
        ("Quiero un café, pero", "es"),
        ("그리고...", "ko"),
    ],
)
def test_words_that_end_nothing(text: str, language: str) -> None:
    assert unfinished(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What time is it?", "en"),
        ("add apples to my shopping list", "en"),
        ("Turn it on.", "en"),
        ("Der Hut ist an", "de"),
        ("Band.", "en"),
        ("A", "en"),
        ("", "en"),
        ("and", "pt"),
    ],
)
def test_words_that_may_be_the_last(text: str, language: str) -> None:
    assert not unfinished(text, language)
