"""What early replies win and cost, and when they are begun."""

import pytest

from voice.ledger import BUSY, CROWDED, LONGEST, SHORTEST, Draft, Ledger


def taught(*outcomes: str) -> Ledger:
    """The ledger of a caller with one such draft a turn."""
    ledger = Ledger("auto")
    for outcome in outcomes:
        ledger.entered(Draft(outcome))  # type: ignore[arg-type]
        ledger.turned()
    return ledger


def test_a_turn_has_its_drafts() -> None:
    ledger = Ledger("auto")
    ledger.entered(Draft("resumed", tokens=7, seconds=0.2))
    ledger.entered(Draft("hit", saved=0.25))
    assert [draft.report() for draft in ledger.turned()] == [
        {"outcome": "resumed", "saved_ms": 0.0, "tokens": 7, "engine_ms": 200.0},
        {"outcome": "hit", "saved_ms": 250.0, "tokens": 0, "engine_ms": 0.0},
    ]
    assert ledger.turned() == []


def test_hits_keep_the_lead_and_misses_take_it() -> None:
    assert taught(*["hit"] * 10).lead(0) == taught().lead(0) > 0
    assert 0 < taught("resumed", "resumed").lead(0) < taught().lead(0)
    assert taught(*["resumed"] * 5).lead(0) == 0


def test_who_was_given_up_is_tried_again() -> None:
    ledger = taught(*["resumed"] * 5)
    turns = 0
    while ledger.lead(0) == 0:
        ledger.turned()
        turns += 1
    assert 1 <= turns <= 20


def test_a_call_that_ended_says_nothing_about_the_caller() -> None:
    assert taught(*["lost"] * 20).hit_rate == taught().hit_rate


def test_a_busy_machine_begins_later_and_a_crowded_one_not_at_all() -> None:
    ledger = taught()
    assert ledger.lead(BUSY - 0.1) > ledger.lead(BUSY) > ledger.lead(CROWDED) == 0


@pytest.mark.parametrize("load", [0.0, 5.0])
def test_it_can_be_switched(load: float) -> None:
    assert Ledger("on").lead(load) > 0
    assert Ledger("off").lead(load) == 0


def test_the_lead_follows_what_drafts_take() -> None:
    slow, quick = taught(), taught()
    for _ in range(50):
        slow.ready(3.0)
        quick.ready(0.01)
    assert (quick.lead(0), slow.lead(0)) == (pytest.approx(SHORTEST), pytest.approx(LONGEST))
