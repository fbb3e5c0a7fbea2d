"""When the dialog takes a pause for the end of the turn."""

from dataclasses import replace

import pytest

from voice import dialog
from voice.commands import Commit
from voice.endpoint import Pauses, silence_needed
from voice.events import Judged, Recognised, SpeechStarted, SpeechStopped, Tick, Transcript
from voice.state import Policy, State

SEMANTIC = Policy(eagerness="auto", silence_seconds=0.5, lead=0.0)
FIXED = replace(SEMANTIC, eagerness=None)


def after(*events: dialog.Event, policy: Policy = SEMANTIC) -> State:
    state = State()
    for event in events:
        state, _ = dialog.step(state, event, policy)
    return state


def said(text: str, *, language: str = "en", upto: float = 2.0) -> Recognised:
    return Recognised(0, Transcript(text, "", True, upto, language))


PAUSE = (SpeechStarted(1.0), SpeechStopped(2.0, 2.16))


def wait(state: State, policy: Policy = SEMANTIC) -> float:
    due = dialog.deadline(state, policy)
    assert due is not None
    return due - 2.0


def test_without_an_opinion_the_fixed_silence_counts() -> None:
    assert wait(after(*PAUSE)) == pytest.approx(0.5)
    assert wait(after(*PAUSE, said("and"))) == pytest.approx(0.5)


def test_an_opinion_counts_only_where_it_was_asked_for() -> None:
    judged = after(*PAUSE, Judged(0, 2.0, 0.01))
    assert wait(judged) == pytest.approx(silence_needed(0.01, None, "", Pauses(), "auto"))
    assert wait(judged, FIXED) == pytest.approx(0.5)


@pytest.mark.parametrize("late", [Judged(0, 1.5, 0.01), Judged(1, 2.0, 0.01)])
def test_an_opinion_of_another_pause_changes_nothing(late: Judged) -> None:
    assert after(*PAUSE, late) == after(*PAUSE)


def test_an_opinion_that_comes_after_the_caller_went_on_changes_nothing() -> None:
    state = after(*PAUSE, SpeechStarted(2.4), Judged(0, 2.0, 0.99), SpeechStopped(3.0, 3.16), Judged(0, 2.0, 0.99))
    assert state.utterance is not None
    assert state.utterance.probability is None


def test_the_text_lengthens_the_wait_once_it_is_known() -> None:
    before = after(*PAUSE, Judged(0, 2.0, 0.9))
    known, _ = dialog.step(before, said("I would like a coffee and"), SEMANTIC)
    assert wait(known) > 1.5 * wait(before)


def test_the_turn_ends_at_the_deadline() -> None:
    state = after(*PAUSE, Judged(0, 2.0, 0.99), said("Yes."))
    due = dialog.deadline(state, SEMANTIC)
    assert due is not None
    still, _ = dialog.step(state, Tick(due - 0.01), SEMANTIC)
    assert still.utterance is not None
    over, _ = dialog.step(state, Tick(due), SEMANTIC)
    assert over.utterance is None


def test_pauses_of_the_caller_are_learnt() -> None:
    assert after(*PAUSE, SpeechStarted(2.7)).pauses == Pauses().heard(2.7 - 2.0)


def test_a_turn_that_was_ended_too_soon_counts_as_a_pause() -> None:
    cut = after(*PAUSE, Tick(2.5), SpeechStarted(2.7))
    assert cut.utterances == 1
    assert cut.pauses == Pauses().heard(2.7 - 2.0)


def test_the_next_turn_is_no_pause_and_lets_the_others_fade() -> None:
    state = after(*PAUSE, SpeechStarted(2.7), SpeechStopped(3.0, 3.16), Tick(9.0), SpeechStarted(9.5))
    assert state.pauses == Pauses().heard(2.7 - 2.0).faded()


def test_a_turn_that_the_client_ended_tells_nothing() -> None:
    assert after(*PAUSE, Commit(2.3), SpeechStarted(2.7)).pauses == Pauses()
