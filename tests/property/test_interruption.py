"""Promises about a voice over an answer, whatever is heard."""

from dataclasses import replace
from math import nextafter

from hypothesis import assume, given
from hypothesis import strategies as st

from voice.events import Transcript, Word
from voice.interruption import PAUSE, Interjection, Verdict, believed, due, echoes, verdict

FIRM = ["tuesday", "pizza", "lights", "kitchen", "invoice", "monday", "coffee"]
LISTENING = ["uh-huh", "Mm-hm.", "yeah", "okay,", "right", "I see.", "oh", "wow", "Hmm.", "got it", "all right"]
WORDS = st.sampled_from([*FIRM, *LISTENING, "stop", "no", "I", "have", "the", "what", "M", "12", "...", "火曜日"])
TEXTS = st.text(max_size=12) | st.lists(WORDS, max_size=6).map(" ".join)
SECONDS = st.floats(0, 8) | st.sampled_from([0.0, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8, 1.0, 2.0])
LANGUAGES = st.sampled_from(["en", "de", "fr", "es", "ja", "xx", ""])


@st.composite
def interjections(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> Interjection:
    speaking = draw(st.booleans())
    text = draw(texts)
    spoken = tuple(Word(word, 0.0, 0.0) for word in text.split())
    return Interjection(
        voiced=draw(SECONDS),
        speaking=speaking,
        silent=0.0 if speaking else draw(SECONDS),
        looked=draw(SECONDS),
        text=text,
        sure=draw(st.sampled_from([frozenset(), believed(Transcript(text, "", True, 1.0, words=spoken), "")])),
        final=draw(st.booleans()),
        asked=draw(st.booleans()),
        sounding=draw(TEXTS),
        language=draw(LANGUAGES),
    )


def at(said: Interjection, seconds: float) -> Interjection:
    """The same with only time gone by."""
    return replace(said, voiced=seconds) if said.speaking else replace(said, silent=seconds)


def clock(said: Interjection) -> float:
    return said.voiced if said.speaking else said.silent


@given(interjections())
def test_what_has_ended_with_final_words_is_decided(said: Interjection) -> None:
    known = verdict(replace(said, speaking=False, final=True, silent=max(said.silent, PAUSE)))
    assert known in (Verdict.CUT, Verdict.RESTORE)


@given(interjections())
def test_nothing_waits_for_ever(said: Interjection) -> None:
    over = replace(said, speaking=False, silent=2.0)
    assert verdict(over) in (Verdict.CUT, Verdict.RESTORE)
    assert due(over) is None


@given(interjections(), st.floats(0, 10))
def test_the_verdict_changes_when_it_is_due_and_not_before(said: Interjection, later: float) -> None:
    when = due(said)
    if when is None:
        assert verdict(at(said, clock(said) + later)) is verdict(said)
        return
    assert when > clock(said)
    assert verdict(at(said, when)) is not verdict(said)
    before = nextafter(when, 0.0)
    assert verdict(at(said, min(before, clock(said) + later))) is verdict(said)


@given(interjections(), st.sampled_from(FIRM))
def test_more_words_never_take_a_cut_back(said: Interjection, word: str) -> None:
    assume(word not in said.text.casefold() and word not in said.sounding.casefold())
    more = replace(said, text=f"{said.text} {word}")
    assume(not echoes(more.text, more.sounding))
    if verdict(said) is Verdict.CUT:
        assert verdict(more) is Verdict.CUT


@given(interjections(texts=st.sampled_from(["", " ", "...", "- -"])))
def test_noise_never_ends_an_answer(said: Interjection) -> None:
    assert verdict(said) is not Verdict.CUT


@given(st.lists(st.sampled_from(LISTENING), min_size=1, max_size=8), SECONDS, SECONDS)
def test_a_listener_may_repeat_himself(words: list[str], voiced: float, looked: float) -> None:
    said = Interjection(voiced, False, 0.3, looked, " ".join(words), frozenset(), True, False, "", "en")
    assert verdict(said) is Verdict.RESTORE
    going_on = replace(said, speaking=True, silent=0.0, final=False)
    assert verdict(going_on) in (Verdict.WAIT, Verdict.HOLD)


@given(interjections(), st.integers(0, 5), st.integers(3, 6))
def test_any_stretch_of_the_answer_is_an_echo(said: Interjection, first: int, count: int) -> None:
    ours = ["the", "total", "comes", "to", "twelve", "pounds", "with", "a", "stop", "and", "no", "delivery"]
    heard = replace(said, text=" ".join(ours[first : first + count]).capitalize(), sounding=" ".join(ours))
    assert verdict(heard) is Verdict.RESTORE


@given(TEXTS, TEXTS)
def test_an_echo_needs_words_on_both_sides(text: str, sounding: str) -> None:
    assert not echoes("", sounding)
    assert not echoes(text, "")
    if echoes(text, sounding):
        assert echoes(text.upper(), sounding) or text.upper().casefold() != text.casefold()
