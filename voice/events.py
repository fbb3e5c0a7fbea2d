"""The few typed things that pass between the parts of a conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from streams.audio import Audio


class Priority(IntEnum):
    """Who goes first on an engine's lane; lower is sooner."""

    FIRST_CLAUSE = 0
    FINAL = 1
    SPECULATIVE = 2
    FIRST_PARTIAL = 3
    REVIEW = 4
    PARTIAL = 5
    BATCH = 6


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its times in seconds: on the caller's stream when heard, from the clause's start when spoken."""

    text: str
    start: float
    end: float
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a recogniser made of one stretch of audio.

    Attributes:
        words: in order, times in seconds on the caller's stream.
        language: of the words, ISO 639-1 code.
        likely: the language the caller is now known to speak, for the next call; empty while none is.
        logprob: mean log probability per token.
        no_speech: probability that nobody speaks.
        seconds: engine time spent.
        retried: whether a wider window was needed.
    """

    words: tuple[Word, ...]
    language: str = "en"
    likely: str = ""
    logprob: float = 0.0
    no_speech: float = 0.0
    seconds: float = 0.0
    retried: bool = False

    @property
    def text(self) -> str:
        """The words as one line."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """A spoken clause (or a part of one): audio at the voice's rate and the words that begin in it.

    Times are from the part's start; the last word may end in a later part.
    """

    audio: Audio
    words: tuple[Word, ...]


# Language model in and out ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks the client to call a function; `arguments` is a JSON text."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt, as chat templates know it.

    Attributes:
        role: who speaks.
        text: what; for role "tool" the output of the call.
        calls: role "assistant": function calls made instead of, or after, the text.
        call_id: role "tool": which call this answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Everything a language model needs for one answer; `opening` is the answer's beginning, which it goes on from."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, object], ...] = ()
    tool_choice: str | Mapping[str, object] = "auto"
    max_tokens: int = 256
    temperature: float = 0.7
    opening: str = ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, as the engine counted them; the last thing its stream yields.

    Attributes:
        finish: why it ended.
        accept_length: mean tokens accepted per verification step where the engine speculates, else 0.
        accept_rate: share of the drafted tokens that were accepted, in [0, 1]; 0 where the engine does not say.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    finish: Literal["stop", "length", "tool_calls", "abort"] = "stop"
    accept_length: float = 0.0
    accept_rate: float = 0.0

    def report(self) -> dict[str, object]:
        """For a client's waterfall."""
        return {
            "prompt": self.prompt,
            "cached": self.cached,
            "completion": self.completion,
            "accept_length": round(self.accept_length, 2),
            "accept_rate": round(self.accept_rate, 2),
        }


LlmEvent = TextDelta | ToolCall | Usage


# What happens to a conversation: input of `dialog.step` -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller begins to speak (again); `at` in seconds on the caller's stream, pre-roll not included."""

    at: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller fell silent: the last speech ended `at`, which was certain when `known` (stream seconds)."""

    at: float
    known: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the caller has said so far in the open utterance.

    Attributes:
        stable: text that will not change any more; grows only.
        tentative: text that may still change.
        final: nothing more will come for the speech up to `upto`; `tentative` is then empty.
        upto: end of the audio this is about, stream seconds.
        language: ISO 639-1 code.
        no_speech: the recogniser's probability that nobody spoke.
        words: those of `stable`, then those of `tentative`, with times in stream seconds.
        logprob: mean log probability per token of the newest look.
    """

    stable: str
    tentative: str
    final: bool
    upto: float
    language: str = "en"
    no_speech: float = 0.0
    words: tuple[Word, ...] = field(default=(), compare=False, repr=False)
    logprob: float = 0.0

    @property
    def text(self) -> str:
        """All words, stable or not."""
        return f"{self.stable} {self.tentative}".strip()


@dataclass(frozen=True, slots=True)
class Recognised:
    """What the recogniser now makes of the caller's n-th utterance; `fault` says why there is no transcript."""

    utterance: int
    transcript: Transcript
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """The turn model's opinion of a pause.

    Attributes:
        utterance: the caller's n-th, as in `Recognised`.
        stopped: which pause of it: `SpeechStopped.at`.
        probability: that the caller has finished, in [0, 1].
    """

    utterance: int
    stopped: float
    probability: float


@dataclass(frozen=True, slots=True)
class Tick:
    """The caller's stream has reached `now`, in seconds."""

    now: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """The next part of reply `turn` goes to the caller; word times from the reply's first sample."""

    turn: int
    text: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Played:
    """So much of reply `turn` has sounded, in seconds from its first sample."""

    turn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Moved:
    """What lay from `place` on in reply `turn` sounds again: it now lies `shift` later; seconds."""

    turn: int
    place: float
    shift: float


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """Reply `turn` is over by itself: everything sent and sounded, or it failed (`fault` says why)."""

    turn: int
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    fault: str = ""
