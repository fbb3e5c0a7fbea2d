"""What holds of the shown and of the promised text whatever the recogniser says."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from voice.agreement import CERTAIN, LONG_AGO, Agreement, delta, plain
from voice.events import Hypothesis, Transcript, Word

TOKENS = st.sampled_from(["a", "A", "a,", "b", "b.", "c", "d?", "it's", "-", "é", "दिन"])


@dataclass(frozen=True)
class Look:
    """One decode: of what kind, and what it said about which audio."""

    kind: str
    hypothesis: Hypothesis
    start: float
    upto: float


@st.composite
def looks(draw: st.DrawFn, kinds: tuple[str, ...] = ("quick", "thorough", "final")) -> list[Look]:
    """Looks at audio that grows, each back to somewhere; what is said need have nothing to do with what was."""
    upto, found = 0.0, []
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=10)):
        upto += draw(st.sampled_from([0.1, 0.4, 1.0, 4.0]))
        start = draw(st.floats(0.0, upto))
        texts = draw(st.lists(st.tuples(TOKENS, st.sampled_from([0.2, 0.79, 0.8, 1.0])), max_size=8))
        each = (upto - start) / max(len(texts), 1)
        words = (Word(text, start + n * each, start + (n + 0.9) * each, sure) for n, (text, sure) in enumerate(texts))
        found.append(Look(kind, Hypothesis(tuple(words)), start, upto))
    return found


def take(agreement: Agreement, look: Look) -> Transcript:
    if look.kind == "quick":
        return agreement.quick(look.hypothesis, look.start, look.upto)
    return agreement.thorough(look.hypothesis, look.start, look.upto, final=look.kind == "final")


def words_of(*texts: str) -> Counter[str]:
    return Counter(word for text in texts for word in text.split())


@given(looks())
def test_stable_text_only_grows_by_appending_and_every_final_text_begins_with_it(seen: list[Look]) -> None:
    agreement, stable = Agreement(), ""
    for look in seen:
        transcript = take(agreement, look)
        assert (transcript.final, transcript.upto) == (look.kind == "final", look.upto)
        assert transcript.stable.startswith(stable)
        assert stable + delta(stable, transcript.stable) == transcript.stable
        if transcript.final:
            assert transcript.tentative == ""
        else:
            stable = transcript.stable


@given(looks())
def test_only_thorough_looks_promise_words(seen: list[Look]) -> None:
    agreement = Agreement()
    stable: str | None = ""
    for look in seen:
        now = take(agreement, look).stable
        assert look.kind != "quick" or stable in (now, None)
        stable = None if look.kind == "final" else now


@given(looks())
def test_a_word_is_promised_if_it_was_certain_or_heard_twice_or_long_ago(seen: list[Look]) -> None:
    agreement, stable = Agreement(), ""
    before: set[str] = set()
    heard: list[Word] = []
    for look in seen:
        transcript = take(agreement, look)
        if look.kind == "quick":
            continue
        heard += look.hypothesis.words
        now = {plain(word.text) for word in look.hypothesis.words} or before
        sound = {plain(word.text) for word in heard if word.confidence >= CERTAIN or word.end <= look.upto - LONG_AGO}
        if not transcript.final:
            assert {plain(word) for word in delta(stable, transcript.stable).split()} <= sound | (before & now)
            stable = transcript.stable
        else:  # what it promised shows with the next look
            stable = agreement.quick(Hypothesis(()), look.upto, look.upto).stable
        before = now


@given(looks())
def test_what_may_change_was_said_by_the_last_look_or_stood_before(seen: list[Look]) -> None:
    """A word that a thorough look does not have any more is not shown on, unless that look ends before it."""
    agreement, earlier = Agreement(), list[Word]()
    for look in seen:
        transcript, said = take(agreement, look), look.hypothesis.words
        until = said[-1].end if said and look.kind != "quick" else 0.0
        stands = [word.text for word in earlier if (word.start + word.end) / 2 > until]
        assert words_of(transcript.tentative) <= words_of(look.hypothesis.text, *stands)
        earlier = [*transcript.words, *said]


@given(looks(), TOKENS, st.integers(2, 8))
def test_saying_it_again_changes_nothing_more(seen: list[Look], last: str, count: int) -> None:
    agreement = Agreement()
    for look in seen:
        take(agreement, look)
    upto = seen[-1].upto if seen else 0.0
    texts = [f"{last}{n}" for n in range(count)]  # unlike all before, so that where they begin is not in doubt
    words = tuple(Word(text, upto + n / 2, upto + n / 2 + 0.4) for n, text in enumerate(texts))
    for kind in ("quick", "thorough", "final"):
        again = Look(kind, Hypothesis(words), upto, upto + count / 2 + 2.0)
        take(agreement, again)
        settled = take(agreement, again)
        assert take(agreement, again) == settled


@given(st.lists(TOKENS, max_size=8))
def test_a_final_says_what_the_recogniser_said(texts: list[str]) -> None:
    hypothesis = Hypothesis(tuple(Word(text, float(n), n + 0.9) for n, text in enumerate(texts)))
    assert Agreement().thorough(hypothesis, 0.0, 10.0, final=True).stable == hypothesis.text


@given(looks(), st.floats(0.0, 60.0))
def test_what_is_promised_is_heard_and_neither_lies_ahead(seen: list[Look], upto: float) -> None:
    agreement = Agreement()
    for look in seen:
        take(agreement, look)
        assert 0.0 <= agreement.settled(upto, promised=True) <= agreement.settled(upto, promised=False) <= upto


@given(st.lists(TOKENS, max_size=6), st.lists(TOKENS, max_size=6))
def test_appending_a_delta_says_the_same_words(shown: list[str], text: list[str]) -> None:
    before, after = " ".join(shown), " ".join(text)
    appended = delta(before, after)
    if appended:
        assert [plain(word) for word in (before + appended).split()] == [plain(word) for word in after.split()]
