"""What a conversation is at one moment, and the rules in force. Pure."""

from dataclasses import dataclass, field, replace
from typing import Literal

from voice.commands import Ask, Command
from voice.endpoint import Eagerness, Pauses
from voice.events import Word
from voice.history import Items


@dataclass(frozen=True, slots=True)
class Phrases:
    """What is said without asking the language model; empty: nothing is."""

    repair: str = ""
    idle: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force.

    Attributes:
        detect: we find the ends of turns; otherwise the client commits.
        answer: a finished turn asks for a reply.
        interrupt: the caller's voice may stop a reply.
        lead: seconds before the expected end of a turn at which its reply may begin behind the gate; 0: not before.
        silence_seconds: silence that ends a turn, unless the turn model has an opinion and `eagerness` is given.
        eagerness: how soon the turn model's opinion ends a turn; None: the silence alone counts.
        idle_seconds: silence after which a caller is asked, once, whether they are there; 0: never.
        phrases: the words for that, and for what could not be understood.
    """

    detect: bool = True
    answer: bool = True
    interrupt: bool = True
    lead: float = 0.45
    silence_seconds: float = 0.5
    eagerness: Eagerness | None = None
    idle_seconds: float = 0.0
    phrases: Phrases = Phrases()


Mode = Literal["ducked", "held", "restored"]


@dataclass(frozen=True, slots=True)
class Interjected:
    """The open utterance was begun over reply `turn`, and what it means for the reply is not settled."""

    turn: int
    item_id: str
    mode: Mode = "ducked"


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the caller is saying.

    Attributes:
        began: where its first speech began, and
        stopped: where its last one ended; stream seconds.
        text: all words known, which may still change.
        sure: those of them that are believed, as `voice.interruption` counts them.
        looked: up to where the recogniser has looked, stream seconds.
        final: the text of everything up to `stopped`, or
        fault: why there is none.
        no_speech: the recogniser's probability that nobody spoke, of `final`.
        probability: the turn model's opinion of the pause since `stopped`.
        over: it may interrupt a reply; until that is settled nobody is told of the utterance.
        tries: replies begun for it behind the gate.
        warmed: words of it that the language model has been given to read ahead.
    """

    item_id: str
    began: float = 0.0
    speaking: bool = True
    stopped: float = 0.0
    text: str = ""
    sure: frozenset[str] = frozenset()
    looked: float = 0.0
    final: str | None = None
    fault: str = ""
    language: str = ""
    no_speech: float = 0.0
    probability: float | None = None
    over: Interjected | None = None
    tries: int = 0
    warmed: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """A finished utterance whose text is not known yet; it spans so many `seconds`."""

    number: int
    item_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer under way in the conversation."""

    turn: int
    item_id: str
    gated: bool
    words: tuple[Word, ...] = ()
    played: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """A conversation at one moment.

    Attributes:
        key: makes ids unique between conversations.
        now: where the caller's stream is, in seconds.
        utterances: how many the caller has finished; the open one has this number.
        ended: end of the caller's last speech before the open utterance, stream seconds.
        quiet: since when nobody has spoken, stream seconds; None once the caller has been asked about it.
        repaired: the last turn was not understood, and the caller was told so.
        pauses: how long this caller pauses inside a turn.
        pending: finished utterances whose text is not known yet.
        asked: a reply that waits for those texts or for the current reply's end.
        asides: out-of-band replies under way.
        count: of ids and turns given out.
    """

    key: str = ""
    now: float = 0.0
    items: Items = ()
    utterance: Utterance | None = None
    utterances: int = 0
    ended: float | None = None
    quiet: float | None = 0.0
    repaired: bool = False
    pauses: Pauses = field(default_factory=Pauses)
    pending: tuple[Pending, ...] = ()
    reply: Reply | None = None
    asked: Ask | None = None
    asides: frozenset[int] = frozenset()
    count: int = 0

    def new_id(self) -> tuple["State", str]:
        """An id that no other item of any conversation has."""
        return replace(self, count=self.count + 1), f"item_{self.key}{self.count + 1:05d}"

    def silent(self) -> "State":
        """Somebody has fallen silent; what that means is not asked twice."""
        return self if self.quiet is None else replace(self, quiet=self.now)


Step = tuple[State, tuple[Command, ...]]
