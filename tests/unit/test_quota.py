"""What one key may use, and that one key's use costs no other."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.taps import Recorder
from voice.config import LimitsConfig
from voice.quota import DAY, OverLimit, Quota

NOON = 20_000 * DAY + DAY / 2


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def test_calls_at_the_same_time() -> None:
    tap = Recorder()
    quota = Quota(LimitsConfig(key_sessions=2), tap)
    with quota.admit("a"), quota.admit("b"):
        with quota.admit("a"):
            with pytest.raises(OverLimit, match=r"this key has 2 calls already.* try again in 5 s") as caught:
                quota.admit("a").__enter__()
            assert (caught.value.reason, caught.value.retry_after) == ("key_sessions", 5)
        with quota.admit("a"):
            pass
    assert [call for call in tap.calls if call[0] == "sessions_refused_total"] == [
        ("sessions_refused_total", 1.0, {"reason": "key_sessions"})
    ]


def test_a_call_that_fails_gives_its_place_back() -> None:
    quota = Quota(LimitsConfig(key_sessions=1))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), quota.admit("a"):
            raise ZeroDivisionError


def test_minutes_last_until_midnight_utc() -> None:
    clock = Clock()
    quota = Quota(LimitsConfig(key_minutes=1), now=clock)
    with quota.admit("a") as meter:
        meter.charge(59.9, 0)
        assert meter.spent() is None
        meter.charge(60.0, 0)
        over = meter.spent()
        assert over is not None
        assert "the 1 minutes that this key has a day are used up" in str(over)
        assert over.retry_after == DAY / 2
    with pytest.raises(OverLimit) as caught:
        quota.admit("a").__enter__()
    assert caught.value.reason == "key_minutes"
    with quota.admit("b"):
        pass
    clock.now -= DAY  # set back: the day is not given anew
    with pytest.raises(OverLimit):
        quota.admit("a").__enter__()
    clock.now = NOON + DAY / 2
    with quota.admit("a") as meter:
        assert meter.spent() is None


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=20))
def test_a_call_costs_its_time_or_its_sound_whichever_is_more(looks: list[tuple[float, float]]) -> None:
    tap = Recorder()
    with Quota(LimitsConfig(), tap).admit("a") as meter:
        for lasted, heard in looks:
            meter.charge(lasted, heard)
    charged = sum(amount for name, amount, _ in tap.calls if name == "key_seconds_total")
    assert charged == pytest.approx(max([0.0, *(max(look) for look in looks)]))


def test_recordings_are_refused_before_they_are_worked_on() -> None:
    tap = Recorder()
    quota = Quota(LimitsConfig(key_file_minutes=1), tap)
    quota.check_files("a", 60.0)
    with pytest.raises(OverLimit, match="has 60 s left"):
        quota.check_files("a", 60.1)
    quota.check_files("a", 40.0)
    quota.charge("a", "files", 40.0)
    with pytest.raises(OverLimit, match="has 20 s left"):
        quota.check_files("a", 21.0)
    quota.charge("a", "files", 30.0)  # spoken text, whose length is known when it is made
    with pytest.raises(OverLimit, match="has 0 s left"):
        quota.check_files("a")
    quota.check_files("b", 60.0)
    with quota.admit("a"):
        pass
    assert ("key_seconds_total", 40.0, {"key": "a", "use": "files"}) in tap.calls


def test_without_limits_nothing_is_refused() -> None:
    quota = Quota(LimitsConfig())
    with ExitStack() as calls:
        meters = [calls.enter_context(quota.admit("none")) for _ in range(100)]
        meters[0].charge(1e6, 1e6)
        assert meters[1].spent() is None
        quota.charge("none", "files", 1e6)
        quota.check_files("none", 1e6)
