"""Any course of requests against a circuit breaker."""

from hypothesis import given
from hypothesis import strategies as st

from voice.engines.breaker import ENOUGH, FIRST_PAUSE, IN_A_ROW, LONGEST_PAUSE, OUTCOMES, SHARE, Breaker

Steps = st.lists(
    st.tuples(st.sampled_from(["ask", "good", "bad", "leave", "wait"]), st.integers(0, 5), st.floats(0, 100)),
    max_size=120,
)


@given(Steps)
def test_it_opens_for_a_reason_for_a_while_and_for_one_at_a_time(steps: list[tuple[str, int, float]]) -> None:
    breaker, now = Breaker(), 0.0
    running: list[int] = []
    opened, trials = 0.0, 0
    failures_since_closed = 0
    for step, which, seconds in steps:
        before = breaker.closed
        if step == "wait":
            now += seconds
        elif step == "ask":
            ready = breaker.ready(now)
            ticket = breaker.admit(now)
            assert (ticket is not None) == ready
            assert ready or not before
            if ticket is not None:
                running.append(ticket)
            if ticket is not None and not before:
                assert now - opened >= FIRST_PAUSE
                assert not breaker.ready(now + 10 * LONGEST_PAUSE), "one trial at a time"
                trials += 1
        elif running:
            ticket = running.pop(which % len(running))
            match step:
                case "good":
                    breaker.succeeded(ticket)
                case "bad":
                    failures_since_closed += before
                    breaker.failed(ticket, now)
                case _:
                    breaker.left(ticket)
        if before and not breaker.closed:
            assert step == "bad"
            assert failures_since_closed >= min(IN_A_ROW, SHARE * ENOUGH)
            opened = now
        if breaker.closed and not before:
            assert step == "good"
            assert trials
            failures_since_closed = 0
        if step == "bad" and not breaker.closed and not breaker.ready(now):
            assert breaker.ready(now + LONGEST_PAUSE) or running
        if not before and not breaker.closed and step == "bad":
            opened = min(opened, now)


@given(st.integers(0, 10), st.floats(0, 1e6))
def test_what_always_fails_is_asked_ever_less(trials: int, start: float) -> None:
    breaker, now = Breaker(), start
    for _ in range(IN_A_ROW):
        ticket = breaker.admit(now)
        assert ticket is not None
        breaker.failed(ticket, now)
    for number in range(trials):
        pause = min(FIRST_PAUSE * 2**number, LONGEST_PAUSE)
        assert breaker.admit(now + 0.99 * pause - 1e-3) is None
        now += pause + 1e-3
        ticket = breaker.admit(now)
        assert ticket is not None
        breaker.failed(ticket, now)
    assert breaker.admit(now) is None


@given(st.lists(st.booleans(), max_size=200))
def test_one_after_the_other_it_opens_exactly_at_the_rule(outcomes: list[bool]) -> None:
    breaker = Breaker()
    seen: list[bool] = []
    for outcome in outcomes:
        ticket = breaker.admit(0.0)
        assert ticket is not None
        seen.append(outcome)
        breaker.succeeded(ticket) if outcome else breaker.failed(ticket, 0.0)
        window = seen[-OUTCOMES:]
        bad = window.count(False)
        many = len(window) >= ENOUGH and bad >= SHARE * len(window)
        if not outcome and (many or (len(seen) >= IN_A_ROW and not any(seen[-IN_A_ROW:]))):
            assert not breaker.closed
            return
        assert breaker.closed


def test_a_trial_that_nobody_waited_for_is_still_due() -> None:
    breaker = Breaker(in_a_row=1)
    ticket = breaker.admit(0.0)
    assert ticket is not None
    breaker.failed(ticket, 0.0)
    trial = breaker.admit(FIRST_PAUSE)
    assert trial is not None
    breaker.failed(ticket, FIRST_PAUSE)  # old news
    breaker.succeeded(ticket)
    assert breaker.admit(FIRST_PAUSE) is None
    breaker.left(trial)
    trial = breaker.admit(FIRST_PAUSE)
    assert trial is not None
    breaker.succeeded(trial)
    assert breaker.closed
