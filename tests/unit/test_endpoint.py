"""How long silence must last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.endpoint import silence_needed

PROBABILITIES = st.floats(0, 1)


def test_without_a_turn_model_the_fixed_wait_counts() -> None:
    assert silence_needed(None, 0.5) == 0.5
    assert silence_needed(None, 3.0) == 3.0


@pytest.mark.parametrize(
    ("probability", "shortest", "longest"),
    [(0.0, 2.5, 2.5), (0.3, 1.5, 2.5), (0.7, 0.4, 0.7), (0.9, 0.25, 0.25), (1.0, 0.2, 0.2)],
)
def test_the_wait_falls_with_the_probability(probability: float, shortest: float, longest: float) -> None:
    assert shortest <= silence_needed(probability, 0.5) <= longest


@given(PROBABILITIES, PROBABILITIES)
def test_a_surer_model_never_waits_longer(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert silence_needed(low, 0.5) >= silence_needed(high, 0.5)


@given(PROBABILITIES)
def test_the_wait_is_bounded(probability: float) -> None:
    assert 0.2 <= silence_needed(probability, 0.5) <= 2.5
