"""Cuts a language model's text into clauses to be spoken: the first one short, later ones as whole sentences."""

import re

from voice.speakable import BREAK, MARKS, Reader, ends_sentence, pauses, sayable

MIN_WORDS = 3
"""Anything shorter joins the clause after it, except that an answer may begin with a tiny sentence: "Sure." sounds
at once, and what follows is again cut like a first clause."""
FIRST_WORDS = (5, 7)
"""A first clause without punctuation ends after so many words, where the phrase allows."""
STAGES = ((0, 100), (40, 100), (100, 200))
"""For the first, the second and all later clauses: from how many characters a comma ends it, and the most it may have.

Each clause buys time for the next: a later one may take longer to arrive and to synthesise.
"""

_STOPS = ".,;:!?…—–-"
_IDLE = frozenset(_STOPS + "\"'“”‘’()«»{}")
_CLINGING = re.compile(
    r"an?|the|th(?:is|at|ese|ose)|my|your|his|hers?|its|our|their|some|any|no|every|each|i|you|he|she|it|we|they|who|"
    r"and|or|but|nor|so|because|if|when|while|as|than|which|to|of|in|on|at|by|for|from|with|about|into|over|under|after|"
    r"before|until|between|through|without|is|are|was|were|be|been|am|do|does|did|have|has|had|will|would|can|could|"
    r"should|may|might|must|shall|not|very|too|more|most|please|there|let's|(?:i|you|he|she|it|we|they)'(?:m|re|s|ll|ve|d)",
    re.IGNORECASE,
)


class Chunker:
    """Takes the deltas of one answer and gives clauses.

    Clauses are plain text with the answer's own case and punctuation; joined by a space they are its transcript. They
    depend on the text alone, not on how it was cut into deltas. A clause has at most 200 characters and at least one
    letter or digit.
    """

    def __init__(self) -> None:
        self._reader = Reader()
        self._words: list[str] = []
        self._stage = 0

    def push(self, delta: str) -> list[str]:
        """Clauses that the delta completes."""
        return self._take_all(self._reader.push(delta))

    def finish(self) -> list[str]:
        """What is left, once the answer is complete."""
        return self._take_all(self._reader.finish()) + self._cut(len(self._words))

    def _take_all(self, tokens: list[str]) -> list[str]:
        return [clause for token in tokens for clause in self._take(token)]

    def _take(self, token: str) -> list[str]:
        if token == BREAK:
            return self._cut(len(self._words)) if len(self._words) >= MIN_WORDS else []
        if token in MARKS:
            return self._mark(token)
        ready: list[str] = []
        for first in range(0, len(token), STAGES[0][1] - 1):
            ready += self._append(token[first : first + STAGES[0][1] - 1])
        return ready

    def _mark(self, mark: str) -> list[str]:
        """Put punctuation after the last word; a full stop replaces a comma."""
        if not self._words:
            return []
        last = self._words[-1]
        if mark == "." and last.endswith(","):
            last = last[:-1]
        if last[-1] in _STOPS:
            return []
        self._words[-1] = last + mark
        return self._settle()

    def _append(self, word: str) -> list[str]:
        if not self._words and set(word) <= _IDLE:
            return []
        ready: list[str] = []
        while self._words and self._length() + 1 + len(word) >= STAGES[self._stage][1]:
            ready += self._cut(self._joint())
        if self._stage == 0 and len(self._words) >= FIRST_WORDS[0] and _between(self._words[-1], word):
            ready += self._cut(len(self._words))
        if self._words or not set(word) <= _IDLE:
            self._words.append(word)
        return ready + self._settle()

    def _settle(self) -> list[str]:
        """Cut where the clause so far may end."""
        count = len(self._words)
        last = self._words[-1] if count else ""
        if count < MIN_WORDS:
            return self._cut(count) if self._stage == 0 and ends_sentence(last) else []
        if ends_sentence(last) or (pauses(last) and self._length() >= STAGES[self._stage][0]):
            return self._cut(count)
        shortest, longest = FIRST_WORDS
        if self._stage == 0 and count >= longest:
            loose = [n for n in range(longest, shortest - 1, -1) if not _clings(self._words[n - 1])]
            return self._cut(loose[0] if loose else longest)
        return []

    def _joint(self) -> int:
        """How many of the words make the best clause, where all are too long for one."""
        half, length, pause, phrase = self._length() / 2, -1, 0, 0
        for index, word in enumerate(self._words[:-1]):
            length += 1 + len(word)
            if length >= half and (pauses(word) or ends_sentence(word)):
                pause = index + 1
            elif length >= half and _between(word, self._words[index + 1]):
                phrase = index + 1
        return pause or phrase or len(self._words)

    def _length(self) -> int:
        return sum(map(len, self._words)) + len(self._words) - 1

    def _cut(self, count: int) -> list[str]:
        clause, self._words = " ".join(self._words[:count]), self._words[count:]
        while self._words and set(self._words[0]) <= _IDLE:
            del self._words[0]
        if not sayable(clause):
            return []
        if self._stage or count >= MIN_WORDS:
            self._stage = min(self._stage + 1, len(STAGES) - 1)
        return [clause]


def _clings(word: str) -> bool:
    """Whether a word belongs with the one after it: function words, numbers, titles, initials, signs."""
    core = word.strip("\"'“”‘’()«»")
    return bool(_CLINGING.fullmatch(core)) or core[:1].isdigit() or core.endswith(".") or not sayable(core)


def _between(word: str, following: str) -> bool:
    """Whether a phrase ends between two words."""
    return not _clings(word) and bool(_CLINGING.fullmatch(following.strip("\"'“‘(«")))
