"""How much of a conversation a prefix cache holds. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from voice.events import Prompt

FEW_LETTERS = 8
"""Fewer in common are not worth another conversation's cache."""
KEPT, KEPT_CHARS = 128, 4 * 1024 * 1024
"""Conversations, and characters of them, that are remembered of one cache; the newest stays whatever its size."""

Texts = tuple[str, ...]


def texts(prompt: Prompt) -> Texts:
    """Tools and instructions first, as one; then message by message."""
    system = [message.text for message in takewhile(lambda message: message.role == "system", prompt.messages)]
    rest = prompt.messages[len(system) :]
    return (repr((prompt.tools, system)), *(f"{message.text}{message.calls or ''}" for message in rest))


def shared(held: Texts, new: Texts) -> int:
    """Characters of a conversation that a cache can serve: equal messages, then the beginning of one that has grown,
    was revised or was cut. A few letters in common are nothing; a cache of the instructions, perhaps with a greeting,
    is better than another conversation's."""
    if held[:1] != new[:1]:
        return 0
    total = int(len(held) < 3 and len(_letters("".join(held[1:]))) < FEW_LETTERS)
    for one, other in zip(held[1:], new[1:], strict=False):
        if one != other:
            return total + _common(_letters(one), _letters(other))
        total += len(one) if len(one) >= FEW_LETTERS else 0
    return total


def _letters(text: str) -> str:
    """What recognisers do not revise to the very end, as they do case and punctuation."""
    return "".join(filter(str.isalnum, text.casefold()))


def _common(one: str, other: str) -> int:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return same if same >= FEW_LETTERS and 2 * same >= min(len(one), len(other)) else 0


@dataclass
class Remembered:
    """What a server's prefix cache holds, as far as we have sent it there: the newest conversations."""

    conversations: list[Texts] = field(default_factory=list)

    def best(self, new: Texts) -> int:
        """Most characters that one of them shares with a prompt."""
        return max((shared(held, new) for held in self.conversations), default=0)

    def add(self, new: Texts) -> None:
        """A prompt was sent there; it takes the place of what it continues."""
        self.conversations = [held for held in self.conversations if not _continues(held, new)] + [new]
        chars = 0
        for kept, held in enumerate(reversed(self.conversations)):
            chars += sum(map(len, held))
            if kept and (kept == KEPT or chars > KEPT_CHARS):
                del self.conversations[:-kept]
                break


def _continues(held: Sequence[str], new: Sequence[str]) -> bool:
    """Whether the new prompt holds all messages of the other, the last of them perhaps grown."""
    return len(held) <= len(new) and held[:-1] == new[: len(held) - 1] and new[len(held) - 1].startswith(held[-1])
