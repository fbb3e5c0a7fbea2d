"""What a client asks of a conversation, and what the dialog has the session do."""

from dataclasses import dataclass
from typing import Literal

from voice.events import Transcript, Usage
from voice.history import Item, Items

# What a client asks for -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """A response is wanted.

    Attributes:
        request: what the client said about it, opaque to the dialog; None when speech asked for it.
        aside: out of band, not part of the conversation.
        items: prompt to use instead of the conversation.
        say: what to answer, word for word; empty: what the language model says.
    """

    request: object = None
    aside: bool = False
    items: Items | None = None
    say: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client wants a reply stopped; None means the conversation's current one."""

    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """The client says that the utterance is over, `at` stream seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Clear:
    """The client takes back the audio since the last utterance."""


@dataclass(frozen=True, slots=True)
class Insert:
    """The client puts an item into the conversation."""

    item: Item
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """The client removes an item."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Truncate:
    """The client says how much of an answer was heard, in seconds from its first sample."""

    item_id: str
    seconds: float


# What the session has to do -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """Tell: the caller began to speak."""

    item_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Shown:
    """Tell: the words of the open utterance so far."""

    item_id: str
    transcript: Transcript


Meaning = Literal["backchannel", "echo", "noise"]


@dataclass(frozen=True, slots=True)
class Ignored:
    """Forget the open utterance, of which nobody was told: it was no interruption."""

    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Idle:
    """Tell: the caller has said nothing between these stream seconds; an empty item stands for it."""

    item: Item
    previous: str | None
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Closed:
    """Tell: the utterance is an item now; the next audio belongs to another. `detected`: by us, not the client."""

    item: Item
    previous: str | None
    at: float
    detected: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """Forget the audio of the open utterance."""


@dataclass(frozen=True, slots=True)
class Transcribed:
    """Tell: the final text of an utterance, or why there is none."""

    item_id: str
    text: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Added:
    """Tell: an item is in the conversation."""

    item: Item
    previous: str | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """Tell: an item is gone."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Truncated:
    """Tell: an answer was cut to what was heard."""

    item_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Warm:
    """Have the language model read these items ahead of the reply; what it was to read before no longer matters."""

    items: Items


@dataclass(frozen=True, slots=True)
class Begin:
    """Start reply `turn`; when `gated`, nothing of it leaves before Release."""

    turn: int
    item_id: str
    items: Items
    ask: Ask
    gated: bool


@dataclass(frozen=True, slots=True)
class Release:
    """Let reply `turn` out."""

    turn: int


Cause = Literal["resumed", "cleared", "overridden"]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Throw away reply `turn`, of which nothing has left; the caller went on, or the client has other plans."""

    turn: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Duck:
    """Make reply `turn` softer: the caller may be interrupting."""

    turn: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Fade reply `turn` out and keep what comes next of it."""

    turn: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Reply `turn` goes on at full volume, after a hold from the last word on."""

    turn: int


Reason = Literal["turn_detected", "client_cancelled"]


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop reply `turn` at once; `heard` is what stays of it in the conversation."""

    turn: int
    reason: Reason
    heard: Item | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """Tell: reply `turn` is complete, or failed."""

    turn: int
    item: Item | None
    usage: Usage
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell: what the client asked for cannot be done."""

    message: str
    code: str
    param: str | None = None


Command = (
    Opened
    | Shown
    | Ignored
    | Idle
    | Closed
    | Dropped
    | Transcribed
    | Added
    | Deleted
    | Truncated
    | Warm
    | Begin
    | Release
    | Withdraw
    | Duck
    | Hold
    | Resume
    | Abort
    | Finish
    | Refuse
)
