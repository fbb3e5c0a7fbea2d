"""The yardsticks of `python -m loadtest.bargein`: what a player plays, what an echo is, which words sounded."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.bargein import Found, missed, report, rooms, show
from loadtest.caller import RATE
from loadtest.heard import SLACK, judge, middles
from loadtest.live import ECHO, Echo
from loadtest.player import Client, Player
from loadtest.sayings import PEAK, Saying, cough, tight, typing
from loadtest.trials import Echoed, Over, Remembered
from streams.audio import Audio, Samples
from streams.playout import DUCKED
from voice.events import Word

LOUD = 10_000


def loud(seconds: float) -> Samples:
    return np.full(round(seconds * RATE), LOUD, np.int16)


def playing(client: Client, latency: float = 0.0) -> Player:
    """A player that has got a second of sound, a second into the call."""
    player = Player(client, latency)
    player.arrived(1.0, "r", "i", loud(1.0))
    return player


def level(player: Player, at: float) -> float:
    return float(player.sound(round(at * RATE), round(at * RATE) + 1)[0] * 32768)


@pytest.mark.parametrize("client", Client)
def test_it_plays_without_a_break_what_comes_in_time(client: Client) -> None:
    player = playing(client)
    assert player.arrived(1.5, "r", "i", loud(0.5)) == pytest.approx(2.0)
    assert player.until == pytest.approx(2.5)
    assert player.played("i", 1.25) == pytest.approx(0.25)
    assert player.played("i", 9.0) == pytest.approx(1.5)
    assert player.breaks("r", 0.0) == 0.0
    assert [level(player, at) for at in (0.99, 1.01, 2.49, 2.51)] == [0, LOUD, LOUD, 0]


def test_what_comes_too_late_leaves_a_break() -> None:
    player = playing(Client.DEAF)
    assert player.arrived(2.4, "r", "i", loud(0.5)) == pytest.approx(2.4)
    assert player.breaks("r", 0.0) == pytest.approx(0.4)
    assert player.breaks("r", 2.3) == pytest.approx(0.1)
    assert player.played("i", 2.4) == pytest.approx(1.0)
    assert player.breaks("other", 0.0) == 0.0


def test_one_that_holds_back_is_late_after_every_break() -> None:
    player = playing(Client.API, latency=0.3)
    assert player.played("i", 1.3) == 0.0
    assert player.played("i", 1.4) == pytest.approx(0.1)
    assert player.arrived(2.2, "r", "i", loud(0.1)) == pytest.approx(2.3)
    assert player.arrived(3.0, "r", "i", loud(0.1)) == pytest.approx(3.3)


@pytest.mark.parametrize(
    ("client", "what", "heard"),
    [
        (Client.API, "started", 0),
        (Client.API, "held", LOUD),
        (Client.API, "ducked", LOUD),
        (Client.EXTENDED, "started", 0),
        (Client.EXTENDED, "held", 0),
        (Client.EXTENDED, "ducked", LOUD * DUCKED),
        (Client.EXTENDED, "restored", LOUD),
        (Client.DEAF, "started", LOUD),
        (Client.DEAF, "held", LOUD),
    ],
)
def test_what_each_kind_of_client_does_with_what_it_holds(client: Client, what: str, heard: float) -> None:
    player = playing(client)
    player.told(1.5, what)  # type: ignore[arg-type]
    assert level(player, 1.49) == pytest.approx(LOUD)
    assert level(player, 1.51) == pytest.approx(heard)
    gone = heard == 0
    assert player.last_audible("r") == pytest.approx(1.5 if gone else 2.0)
    assert player.played("i", 9.0) == pytest.approx(0.5 if gone else 1.0)


def test_what_comes_after_a_drop_keeps_its_place_in_the_item() -> None:
    player = playing(Client.EXTENDED)
    player.told(1.5, "held")
    player.arrived(1.8, "r", "i", loud(0.2))
    assert player.breaks("r", 0.0) == pytest.approx(0.3)
    assert player.played("i", 9.0) == pytest.approx(1.2)


def test_silence_is_not_heard() -> None:
    player = playing(Client.DEAF)
    player.arrived(1.5, "r", "i", np.full(RATE, 50, np.int16))
    assert player.last_audible("r") == pytest.approx(2.0)
    assert player.last_audible("other") is None


@given(
    st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.01, 0.5)), min_size=1, max_size=8),
    st.sampled_from(list(Client)),
)
def test_nothing_sounds_twice_or_at_the_same_time(arrivals: list[tuple[float, float]], client: Client) -> None:
    player, now, total = Player(client), 0.0, 0
    for later, seconds in arrivals:
        now += later
        player.arrived(now, "r", "i", loud(seconds))
        total += len(loud(seconds))
    sounded = player.sound(0, round(player.until * RATE) + 10)
    assert set(np.unique(sounded * 32768).round()) <= {0, LOUD}
    assert np.count_nonzero(sounded) == total


def test_an_echo_comes_late_and_soft() -> None:
    player = Player(Client.API)
    click = np.zeros(RATE, np.int16)
    click[0] = 16384
    player.arrived(1.0, "r", "i", click)
    room = np.zeros(100)
    room[[0, 50]] = 0.8, 0.6
    echo = np.concatenate([Echo(0.1, room).heard(player, first, 480) for first in range(RATE, 2 * RATE, 480)])
    late = round(0.1 * RATE)
    assert echo[late] == pytest.approx(0.5 * ECHO * 0.8)
    assert echo[late + 50] == pytest.approx(0.5 * ECHO * 0.6)
    rest = np.delete(echo, [late, late + 50])
    assert np.abs(rest).max() < 1e-9


def test_phrases_are_cut_tight_and_equally_loud() -> None:
    sound = np.concatenate([np.full(RATE, 1e-4), np.sin(np.arange(RATE // 2)), np.full(RATE, 1e-4)])
    found = tight(sound)
    assert len(found) == RATE // 2
    assert np.abs(found).max() == pytest.approx(PEAK)
    assert len(tight(np.zeros(0))) == 0


def test_noises_made_here_are_the_same_every_time() -> None:
    for made in (typing, cough):
        assert np.array_equal(made(1), made(1))
        assert not np.array_equal(made(1), made(2))
        assert np.abs(made(1)).max() == pytest.approx(PEAK * 32768, rel=0.01)


# The history's yardstick ------------------------------------------------------------------------------------------

SAID = "one two three four"
WORDS = SAID.split()


def speech(seconds: list[float], pitches: list[float], rate: int = RATE) -> Audio:
    """Words as tones that rise by two octaves, each so long, with 0.1 s of silence after each."""
    pieces = []
    for length, pitch in zip(seconds, pitches, strict=True):
        frequency = pitch * 4 ** np.linspace(0, 1, round(length * rate))
        tone = np.sin(2 * np.pi * np.cumsum(frequency) / rate)
        pieces += [5000 * tone, np.zeros(rate // 10)]
    return Audio(np.concatenate(pieces).astype(np.int16), rate)


def timed(seconds: list[float]) -> list[Word]:
    ends = np.cumsum([length + 0.1 for length in seconds]) - 0.1
    return [Word(text, end - length, end) for text, length, end in zip(WORDS, seconds, ends, strict=True)]


PITCHES = [200.0, 310.0, 450.0, 700.0]
OURS, AGAIN = [0.3, 0.4, 0.25, 0.5], [0.4, 0.3, 0.35, 0.4]


@pytest.mark.parametrize("softer", [0.0, 0.8])
def test_words_are_found_in_another_saying_of_the_same(softer: float) -> None:
    sound = speech(OURS, PITCHES)
    samples = sound.samples.copy()
    samples[round(softer * RATE) :] = (samples[round(softer * RATE) :] * DUCKED).astype(np.int16)
    found = middles(Audio(samples, RATE), speech(AGAIN, PITCHES, 22_050), timed(AGAIN))
    assert found == pytest.approx([(word.start + word.end) / 2 for word in timed(OURS)], abs=SLACK)


def test_words_after_the_end_of_the_sound_are_not_in_it() -> None:
    sound = speech(OURS, PITCHES)
    found = middles(sound.span(0, round(0.75 * RATE)), speech(AGAIN, PITCHES), timed(AGAIN))
    assert [middle is not None for middle in found] == [True, True, False, False]


@pytest.mark.parametrize(
    ("history", "right", "wrong"),
    [
        ("one two", True, False),
        ("one", False, True),
        ("one two three", False, False),
        ("one two three four", False, True),
        ("one too", False, True),
        ("", False, True),
    ],
)
def test_a_history_is_right_wrong_or_within_the_doubt(history: str, right: bool, wrong: bool) -> None:
    places = [0.2, 0.6, 1.0 + SLACK / 2, None]
    found = judge(history, SAID, places, played=1.0)
    assert (found.right, found.wrong) == (right, wrong)
    assert not found.sure


# What is shown ----------------------------------------------------------------------------------------------------


def over(cut: bool, *states: tuple[str, float]) -> Over:
    last = states[-1][1]
    return Over("it", "kind", cut, list(states), {"API": 0.3}, {"API": last} if cut else {}, 0.25, 0.5)


def test_the_report_has_every_part() -> None:
    stop, noise = Saying("s", "g", loud(0.5)), over(False, ("ducked", 0.1), ("restored", 0.4))
    resumed = over(True, ("ducked", 0.1), ("held", 0.5), ("restored", 0.8), ("started", 1.2))
    kept = Remembered("voice", "nothing", "one", SAID, Audio(loud(0.1), RATE), 1.0, repeated=False)
    found = Found(
        [over(True, ("ducked", 0.1), ("started", 0.4)), resumed, over(False, ("ducked", 0.2))],
        [noise, over(True, ("started", 0.3))],
        [Echoed(0.04, "dry", cut=True, ducked=1, stopped=None), Echoed(0.2, "dry", cut=False, ducked=0, stopped=noise)],
        [(kept, judge("one", SAID, [0.2, 0.5], 1.0))],
    )
    names, values = (list(column.cells) for column in show(found).columns)
    cells = {str(name).strip(): str(value) for name, value in zip(names, values, strict=True)}
    assert cells["interruptions that ended the answer"] == "2 of 3 (67 %)"
    assert cells["it fell silent, came back, and then ended"] == "1 of 2 (50 %)"
    assert cells["voice onset -> server falls silent, p50 / p95"] == "450 / 495 ms"
    assert cells["kind: answers that ran to their end"] == "1 of 2 (50 %)"
    assert cells["turns with an echo: the echo ended the answer"] == "1 of 2 (50 %)"
    assert cells["cuts: history right to the word"] == "0 of 1 (0 %), surely wrong 1"
    assert len(missed(found)) == 5
    assert json.loads(json.dumps(report(found)))["cuts"][0]["verdict"]["sounded"] == 2
    assert stop.length == pytest.approx(0.5)


def test_nothing_measured_shows_nothing() -> None:
    assert show(Found()).row_count
    assert missed(Found()) == []
    assert list(rooms([])) == ["dry"]
