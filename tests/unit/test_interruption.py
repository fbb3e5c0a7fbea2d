"""What a voice over an answer means."""

from dataclasses import replace

import pytest

from voice.events import Transcript, Word
from voice.interruption import LATE, PATIENCE, PAUSE, Interjection, Verdict, believed, due, echoes, verdict

WAIT, HOLD, CUT, RESTORE = Verdict.WAIT, Verdict.HOLD, Verdict.CUT, Verdict.RESTORE
ONSET = Interjection(
    voiced=0.1,
    speaking=True,
    silent=0.0,
    looked=0.0,
    text="",
    sure=frozenset(),
    final=False,
    asked=False,
    sounding="",
    language="en",
)


def heard(text: str, confidence: float = 1.0, logprob: float = -0.5) -> Transcript:
    words = tuple(Word(word, 0.0, 0.1, confidence) for word in text.split())
    return Transcript(text, "", True, 1.0, words=words, logprob=logprob)


def spoken(text: str, voiced: float, looked: float = 0.3, **known: object) -> Interjection:
    """A voice that goes on; its words are believed."""
    facts = {"sure": believed(heard(text), "")} | known
    return replace(ONSET, text=text, voiced=voiced, looked=looked, **facts)  # type: ignore[arg-type]


def ended(text: str, voiced: float = 0.5, **known: object) -> Interjection:
    """A voice that has ended, with its final text."""
    facts = {"speaking": False, "silent": 0.3, "looked": voiced, "final": True} | known
    facts = {"sure": believed(heard(text), "")} | facts
    return replace(ONSET, text=text, voiced=voiced, **facts)  # type: ignore[arg-type]


BACKCHANNELS = (
    "Uh-huh.", "uh huh", "Mm-hm.", "M-hmm", "Mm.", "Hmm.", "Hm-hm", "Nhm", "Aha", "Ah", "Um", "Mm-", "N'h'n'", "Mama",
    "Yeah.", "Yeah, yeah, yeah", "Okay.", "ok", "Yep.", "Right.", "Alright.", "All right. All", "Sure.", "Got it.",
    "I see.", "I see, I", "Oh.", "Oh, okay.", "Wow!", "Go on.", "Of course.", "Thank you.", "I'm him.", "It has.",
    "Yep, y", "Right, all right.",
)  # fmt: skip


@pytest.mark.parametrize("text", BACKCHANNELS)
def test_a_listeners_words_leave_the_answer_running(text: str) -> None:
    assert verdict(ended(text, 0.6)) is RESTORE


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Ach so."),
        ("de", "Ja, genau."),
        ("fr", "D'accord."),
        ("fr", "Oui, oui."),
        ("es", "Sí, claro."),
        ("es", "Ya veo."),
        ("pt", "Okay."),
        ("pt", "Sim."),
        ("ja", "うん"),
        ("", "Mm-hm."),
    ],
)
def test_listeners_of_other_languages(language: str, text: str) -> None:
    assert verdict(ended(text, 0.6, language=language)) is RESTORE


@pytest.mark.parametrize(
    "text",
    ["Stop.", "Wait.", "Hold on. Hold", "No.", "Excuse me.", "Actually", "Sorry?", "Yeah, but", "Okay, stop.", "What?"],
)
def test_stop_words_cut_at_once(text: str) -> None:
    assert verdict(spoken(text, 0.35, 0.25)) is CUT


@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "Nein."), ("de", "Einen Moment"), ("fr", "Attends !"), ("fr", "Excusez-moi"), ("es", "¡Espera!")],
)
def test_stop_words_of_other_languages(language: str, text: str) -> None:
    assert verdict(spoken(text, 0.35, language=language)) is CUT


@pytest.mark.parametrize(
    ("said", "final"),
    [
        ("Tuesday.", CUT),
        ("Pizza? Pizza?", CUT),
        ("Turn on standing lights.", CUT),
        ("I have a question", CUT),
        ("Okay, Tuesday works.", CUT),
        ("Right now.", CUT),
        ("うんうんうん", CUT),
        ("", RESTORE),
        ("...", RESTORE),
    ],
)
def test_content_ends_the_answer(said: str, final: Verdict) -> None:
    assert verdict(ended(said)) is final


def test_one_word_falls_silent_and_cuts_when_it_is_final() -> None:
    assert verdict(spoken("Tuesday", 0.3)) is WAIT
    assert due(spoken("Tuesday", 0.3)) == PATIENCE
    assert verdict(spoken("Tuesday", 0.5)) is HOLD
    assert verdict(ended("Tuesday", silent=0.1, final=False)) is HOLD
    assert verdict(ended("Tuesday.")) is CUT
    brief = ended("Tues", 0.25, silent=0.1, final=False)
    assert (verdict(brief), due(brief)) == (WAIT, pytest.approx(PATIENCE - 0.25))
    assert verdict(replace(brief, silent=0.2)) is HOLD


def test_two_words_fall_silent_at_once_and_cut_when_they_have_lasted() -> None:
    early = spoken("Go one", 0.35)
    assert (verdict(early), due(early)) == (HOLD, 0.8)
    assert verdict(replace(early, voiced=0.8)) is CUT
    assert verdict(ended("Go on.", 0.45)) is RESTORE


def test_words_that_open_a_sentence_are_waited_for() -> None:
    assert verdict(spoken("I have", 0.5)) is HOLD
    assert verdict(ended("I have.", 0.6)) is RESTORE
    assert verdict(ended("I have.", 1.4)) is CUT
    assert verdict(spoken("I have a dentist appointment", 1.4, 1.2)) is CUT


def test_silence_is_due_while_nobody_has_looked() -> None:
    assert verdict(ONSET) is WAIT
    assert due(ONSET) == PATIENCE
    assert verdict(spoken("", 0.5, looked=0.0)) is HOLD
    assert due(spoken("", 0.3, looked=0.2)) == PATIENCE


def test_a_cough_leaves_the_answer_running() -> None:
    for tenths in range(9, 40):
        assert verdict(spoken("", tenths / 10, looked=tenths / 10 - 0.1)) is WAIT
    assert verdict(spoken("", 3.0, looked=1.5)) is HOLD
    assert verdict(ended("", 0.8, final=False, silent=0.1)) is WAIT
    assert verdict(ended("", 0.1, final=False, silent=0.5)) is WAIT, "too brief for a word"
    assert verdict(ended("", 0.6)) is RESTORE


def test_a_backchannel_that_goes_on() -> None:
    assert verdict(spoken("Yeah", 0.5)) is WAIT
    assert verdict(spoken("Yeah", 0.9)) is HOLD
    assert verdict(spoken("Yeah, yeah, yeah", 0.9)) is WAIT
    assert verdict(ended("Yeah", 0.5, final=False, silent=0.1)) is RESTORE
    assert verdict(ended("Yeah", 1.4, final=False, silent=0.1)) is HOLD
    assert verdict(ended("Yeah, I wanted the other one", 1.4)) is CUT


@pytest.mark.parametrize("text", ["And then make a chain.", "Remember.", "No."])
def test_a_hum_misheard_leaves_the_answer_running(text: str) -> None:
    guess: dict[str, object] = {"sure": frozenset()}
    assert verdict(spoken(text, 0.3, **guess)) is WAIT
    assert verdict(spoken(text, 0.9, **guess)) is HOLD
    over = ended(text, 0.7, **guess)
    assert (verdict(over), due(over)) == (HOLD, PAUSE), "more may come"
    assert verdict(replace(over, silent=PAUSE)) is RESTORE
    assert verdict(ended(text, 0.7, asked=True, **guess)) is CUT
    assert verdict(ended(text, 1.1, **guess)) is CUT, "who goes on for so long says something"


@pytest.mark.parametrize(
    ("look", "before", "yes"),
    [
        (heard("Tuesday", 0.6), "", True),
        (heard("Tuesday", 0.4), "", False),
        (heard("Tuesday", 0.4), "Tuesday.", True),
        (heard("Tuesday", 0.4), "Thursday", False),
        (heard("Tuesday", 0.6, -1.1), "", False),
        (heard("Tuesday", 0.6, -1.1), "tuesday", True),
        (heard("Stop!", 0.4), "", True),
        (heard("Stop!", 0.4, -1.04), "", False),
        (heard("stop", 0.3), "", False),
        (heard("three", 0.3), "3", True),
        (heard("5", 0.3), "Five.", True),
    ],
)
def test_what_is_believed(look: Transcript, before: str, yes: bool) -> None:
    assert bool(believed(look, before)) is yes


@pytest.mark.parametrize("text", ["Yes.", "Okay.", "Mm-hm.", "Sure.", "Right.", "I do.", "It is", "Large."])
def test_after_a_question_assent_is_an_answer(text: str) -> None:
    said = ended(text, asked=True)
    assert verdict(said) is CUT
    assert verdict(replace(said, speaking=True, silent=0.0)) is HOLD


@pytest.mark.parametrize("text", ["Hmm.", "Oh.", "I see.", "Wow.", "Um"])
def test_after_a_question_wonder_is_no_answer(text: str) -> None:
    assert verdict(ended(text, asked=True)) is RESTORE


OURS = "The weather in London is cloudy today, no rain before noon."


def test_an_echo_is_restored_at_once() -> None:
    for text in ["in London is", "Whether in London is cloud", "no rain before noon"]:
        assert verdict(spoken(text, 0.7, sounding=OURS)) is RESTORE, text
    for text in ["London", "no rain", "before noon", "cloudy tod"]:
        assert verdict(spoken(text, 0.7, sounding=OURS)) is WAIT, "a word or two may be anybody's"
        assert verdict(ended(text, sounding=OURS)) is RESTORE, text
    assert verdict(spoken("the", 0.7, sounding=OURS)) is HOLD, "everybody says that"
    assert verdict(spoken("what is the rain", 0.9, sounding=OURS)) is CUT
    assert verdict(spoken("rain or sun", 0.9, sounding=OURS)) is CUT


def test_after_a_question_a_word_of_ours_may_be_the_answer() -> None:
    choice = "Would you like a small or a large one?"
    assert verdict(spoken("large", 0.6, asked=True, sounding=choice)) is WAIT
    assert verdict(ended("Large.", asked=True, sounding=choice)) is CUT
    assert verdict(ended("a small or a large", 1.2, asked=True, sounding=choice)) is RESTORE


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("it is cloudy today", True),
        ("cloudy today no rein before", True),
        ("London cloudy", False),
        ("today is it cloudy", False),
        ("is the rain", False),
        ("stop", False),
        ("", False),
    ],
)
def test_what_counts_as_an_echo(text: str, yes: bool) -> None:
    assert echoes(text, OURS) is yes


def test_nothing_echoes_silence() -> None:
    assert not echoes("hello", "")


@pytest.mark.parametrize("text", ["", "Tuesday", "Yeah", "I have"])
def test_words_that_never_become_final(text: str) -> None:
    said = ended(text, 1.4, final=False, silent=LATE - 0.1, looked=0.0)
    assert (verdict(said), due(said)) == (HOLD, LATE)
    assert verdict(replace(said, silent=LATE)) is RESTORE
