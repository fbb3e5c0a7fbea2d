"""How much silence means that the caller has finished. Pure."""

from itertools import pairwise

CURVE = ((0.0, 2.5), (0.4, 1.5), (0.5, 0.7), (0.85, 0.4), (0.9, 0.25), (1.0, 0.2))
"""Probability that the turn is over -> seconds of silence that confirm it; straight lines between."""


def silence_needed(probability: float | None, silence_seconds: float) -> float:
    """Seconds of silence, counted from the end of speech, after which the turn is over.

    The surer the turn model, the shorter the wait: 0.2 s where it is certain, 2.5 s where it hears an unfinished
    sentence.

    Args:
        probability: that the turn is over, in [0, 1]; None without a turn model.
        silence_seconds: the fixed wait used then.
    """
    if probability is None:
        return silence_seconds
    for (left, longer), (right, shorter) in pairwise(CURVE):
        if probability <= right:
            part = max(probability - left, 0.0) / (right - left)
            return longer + part * (shorter - longer)
    return CURVE[-1][1]
