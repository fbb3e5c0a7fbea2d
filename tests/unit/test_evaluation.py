"""What an evaluation computes, from takes made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.evaluation import asr, turns
from voice.evaluation.manifest import Clip
from voice.evaluation.scoring import Score, interval, matches, replaced, score, total
from voice.evaluation.take import Take, Utterance
from voice.realtime import server_events as ev

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8)


def clip(transcript: str = "one two three", *, kind: str = "speech", language: str = "en", **rest: object) -> Clip:
    fields = {
        "id": "x", "path": None, "seconds": 3.0, "onset": 0.5, "offset": 2.0, "trusted": True, "corpus": "c",
        "speaker": "s",
    }  # fmt: skip
    return Clip(kind=kind, language=language, transcript=transcript, **{**fields, **rest})  # type: ignore[arg-type]


def take(*utterances: Utterance, of: Clip | None = None, **rest: object) -> Take:
    of = of or clip()
    made = Take(of, "clean", 3.0, of.onset, of.offset, **rest)  # type: ignore[arg-type]
    made.utterances.extend(utterances)
    return made


# Scoring ----------------------------------------------------------------------------------------------------


def test_errors_are_counted_after_normalising() -> None:
    assert score("I'm the one.", "i am THE one", "en") == Score(4)
    assert score("red green blue", "red grey blue sky", "en") == Score(3, 1, 0, 1)
    assert score("red green", "", "en") == Score(2, deleted=2)
    assert score("", "thank you", "en") == Score(inserted=2)


def test_chinese_is_scored_by_characters() -> None:
    assert score("今天天气好", "今天天汽好", "zh") == Score(5, substituted=1)


def test_rates() -> None:
    whole = total([Score(3, 1), Score(7, 0, 1, 1)])
    assert whole.rate == pytest.approx(0.3)
    assert Score().rate is None


def test_interval_holds_the_rate_and_says_the_same_again() -> None:
    scores = [Score(10, n % 3) for n in range(30)]
    found = interval(scores)
    assert found is not None
    low, high = found
    assert low < (total(scores).rate or 0) < high
    assert interval(scores) == found
    assert interval([Score()]) is None


@given(WORDS, WORDS)
def test_words_that_stay_are_not_replaced(before: list[str], after: list[str]) -> None:
    assert replaced(before, before + after) == 0
    assert replaced(before, []) == len(before)
    assert 0 <= replaced(before, after) <= len(before)


@given(WORDS, WORDS)
def test_matches_are_equal_words_in_order(left: list[str], right: list[str]) -> None:
    pairs = matches(left, right)
    assert all(left[a] == right[b] for a, b in pairs)
    assert pairs == sorted(pairs)


# Recognition ------------------------------------------------------------------------------------------------


def said() -> Utterance:
    return Utterance(
        "i",
        shown=[(0.9, "", "one"), (1.2, "one", "to"), (1.6, "one two", "free")],
        stable="one two",
        final="one two three",
        known=2.3,
        closed=2.6,
        ended=1.95,
    )


def test_latencies_count_from_the_reference() -> None:
    words = (("one", 0.5, 0.8), ("two", 0.8, 1.3), ("three", 1.5, 2.0))
    seen = take(said(), of=clip(words=words))
    assert asr.first_partial(seen) == pytest.approx(0.4)
    assert asr.finalization(seen) == pytest.approx(0.3)
    assert asr.commit_lags(seen) == pytest.approx([0.4, 0.3, 0.3])


def test_nothing_heard_has_no_latency() -> None:
    seen = take()
    assert (asr.first_partial(seen), asr.finalization(seen), asr.commit_lags(seen)) == (None, None, [])
    assert asr.figures([seen])[0].words.empty == 1


def test_changed_words_are_counted_each_time() -> None:
    assert asr.unstable(said()) == 2, "to -> two, free -> three"


def test_committed_text_that_changes_is_found() -> None:
    other = said()
    other.stable, other.final = "one two", "one too three"
    dressed = said()
    dressed.stable, dressed.final = "one two", "One, two three"
    found = asr.figures([take(said()), take(other), take(dressed)])[0]
    assert (found.committed_changed, found.committed_words_changed) == (2, 1)


def test_cost_is_by_second_of_talking() -> None:
    spent = {"partial": 0.3, "speculative": 0.15}
    seen = take(said(), spent=spent)
    seen.latest = 0.07
    seen.heard(0, 2.3)
    found = asr.figures([seen])[0]
    assert found.talking == pytest.approx(1.5)
    assert found.engine == pytest.approx({"all": 0.3, "partial": 0.2, "speculative": 0.1})
    assert (found.finals_seconds, found.texts_seconds) == pytest.approx((0.15, 0.07))


def test_false_words_are_by_minute_and_kind() -> None:
    noise = take(Utterance("i", final="thank you"), of=clip("", kind="noise", onset=None, offset=None))
    found = asr.figures([take(said()), noise])
    assert len(found) == 1
    assert found[0].quiet["noise"].rate == pytest.approx(40)
    assert found[0].words.clips == 1, "noise has no words to get right"
    assert asr.worst([take(said()), noise]) == [noise]


def test_the_wire_is_read_as_a_client_reads_it() -> None:
    seen = take()
    for at, event in enumerate([
        ev.SpeechStarted(audio_start_ms=500, item_id="i"),
        ev.Tentative(item_id="i", text="one"),
        ev.TranscriptionDelta(item_id="i", delta="one"),
        ev.Tentative(item_id="i", text="two"),
        ev.SpeechStopped(audio_end_ms=2500, item_id="i"),
        ev.Committed(previous_item_id=None, item_id="i"),
    ]):  # fmt: skip
        seen.told(event, float(at), 0.5)
    assert not seen.over
    usage = ev.DurationUsage(seconds=2.0)
    seen.told(ev.TranscriptionCompleted(item_id="i", transcript="one two", usage=usage), 6.0, 0.5)
    (one,) = seen.utterances
    assert seen.over
    assert one.shown == [(1.0, "", "one"), (3.0, "one", "two")]
    assert (one.ended, one.closed, one.final) == (2.0, 5.0, "one two")


# Turn ends --------------------------------------------------------------------------------------------------


def test_pauses_taken_for_the_end() -> None:
    pauses = ((1.0, 1.4), (1.6, 1.9))
    first = Utterance("a", final="one", ended=1.05, closed=1.3)
    second = Utterance("b", final="two", ended=2.0, closed=2.5)
    whole = turns.setting("x", [take(first, second, pauses=pauses), take(second, pauses=pauses)]).whole
    assert (whole.pauses, whole.cut, whole.elsewhere, whole.rate) == (4, 1, 0, 0.25)
    assert whole.delay == asr.Spread(2, 0.5, 0.5)


def test_an_end_where_no_pause_is() -> None:
    seen = take(Utterance("a", ended=1.2, closed=1.4), Utterance("b", ended=2.0, closed=1.9))
    whole = turns.setting("x", [seen]).whole
    assert (whole.cut, whole.elsewhere, whole.early, whole.never) == (0, 1, 1, 0)


def test_an_utterance_that_never_ends() -> None:
    assert turns.setting("x", [take(Utterance("a"))]).whole.never == 1


def test_doubtful_references_do_not_count_for_delays() -> None:
    seen = take(said(), of=clip(trusted=False))
    assert turns.setting("x", [seen]).whole.delay.count == 0
    assert asr.figures([seen])[0].finalization.count == 0
