"""Where the time of one turn went: marks on one clock, and the spans between them. Pure."""

from dataclasses import dataclass, field
from itertools import pairwise

MARKS = (
    "speech_end",
    "pause_detected",
    "asr_final",
    "llm_request",
    "llm_first_token",
    "first_clause",
    "tts_first_audio",
    "endpoint",
    "first_audio",
    "voice_to_voice",
)
"""What is marked, in the usual order; what is done behind the gate may come before or after "endpoint"."""


@dataclass(slots=True)
class Timeline:
    """The marks of one turn, in seconds after the caller's last speech sample arrived.

    Attributes:
        onset: loop time at which the first speech sample arrived.
        origin: loop time at which the last one did.
    """

    onset: float
    origin: float
    marks: dict[str, float] = field(default_factory=dict)

    def paused(self, origin: float, now: float) -> None:
        """The caller fell silent: what was marked before belongs to an earlier pause."""
        self.origin = origin
        self.marks = {"speech_end": 0.0, "pause_detected": now - origin}

    def mark(self, name: str, now: float) -> bool:
        """Note that `name` happened at loop time `now`; only the first time counts. Returns whether it did."""
        if name in self.marks:
            return False
        self.marks[name] = now - self.origin
        return True

    def spans(self) -> list[tuple[str, float]]:
        """What each stretch up to "voice_to_voice" waited for, and how long; the lengths sum to it exactly."""
        end = self.marks["voice_to_voice"]
        reached = sorted((at, MARKS.index(name), name) for name, at in self.marks.items() if at <= end)
        return [(name, at - before) for (before, *_), (at, _, name) in pairwise(reached)]

    def report(self, response_id: str) -> dict[str, object]:
        """The turn as a client's waterfall draws it; milliseconds."""
        return {
            "response_id": response_id,
            "marks_ms": {name: round(1000 * at, 1) for name, at in self.marks.items()},
            "spans_ms": [{"name": name, "ms": round(1000 * length, 1)} for name, length in self.spans()],
        }
