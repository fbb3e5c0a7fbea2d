"""Which language a caller speaks, where nobody has said. Pure.

A recogniser's opinion of a second of speech is wrong one time in three, and often confidently so; of two seconds, one
time in twenty, and then hardly ever with confidence (docs/recognition.md has the figures). So short utterances are
heard in the language that the caller is known to speak, and only what tells something changes that.
"""

LONG, LIKELY = 2.0, 0.9
"""Seconds of audio from which an opinion of this probability counts."""
SHORT, SURE = 1.0, 0.97
"""The same for less audio; what is shorter never counts."""
GUESS = 0.5
"""Probability from which it is worth showing words in a language that may be the wrong one."""


def known(before: str, detected: str, probability: float, seconds: float) -> str:
    """The language the caller is known to speak; empty if none is.

    Args:
        before: what was known before, ISO 639-1, or empty.
        detected: the most probable language of some audio, and its `probability`.
        seconds: of that audio.
    """
    telling = (seconds >= LONG and probability >= LIKELY) or (seconds >= SHORT and probability >= SURE)
    return detected if telling else before


def presentable(probability: float, seconds: float) -> bool:
    """Whether words heard in passing are worth showing while no language is known."""
    return seconds >= SHORT and probability >= GUESS
