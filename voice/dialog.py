"""All turn taking in one pure function: `step(state, event, policy) -> (state, commands)`.

The state is what the conversation is, the event what just happened, the commands what the session has to do about
it. There is no clock and no randomness here: times are seconds on the caller's stream, ids count up from a key.
"""

from dataclasses import dataclass, field, replace

from voice import history
from voice.commands import (
    Abort,
    Ask,
    Begin,
    Cancel,
    Clear,
    Closed,
    Command,
    Commit,
    Delete,
    Dropped,
    Finish,
    Insert,
    Opened,
    Reason,
    Refuse,
    Release,
    Shown,
    Transcribed,
    Truncate,
)
from voice.editing import edit
from voice.endpoint import Eagerness, Pauses, silence_needed
from voice.events import (
    Judged,
    Played,
    Recognised,
    ReplyDone,
    SpeechStarted,
    SpeechStopped,
    Spoken,
    Tick,
    Word,
)
from voice.history import Item, Items

Event = (
    SpeechStarted
    | SpeechStopped
    | Recognised
    | Judged
    | Tick
    | Spoken
    | Played
    | ReplyDone
    | Ask
    | Cancel
    | Commit
    | Clear
    | Insert
    | Delete
    | Truncate
)

# State ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force.

    Attributes:
        detect: we find the ends of turns; otherwise the client commits.
        answer: a finished turn asks for a reply.
        interrupt: the caller's voice stops a reply.
        speculate: begin the reply behind the gate while the silence is still being judged.
        silence_seconds: silence that ends a turn, unless the turn model has an opinion and `eagerness` is given.
        eagerness: how soon the turn model's opinion ends a turn; None: the silence alone counts.
    """

    detect: bool = True
    answer: bool = True
    interrupt: bool = True
    speculate: bool = True
    silence_seconds: float = 0.5
    eagerness: Eagerness | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the caller is saying; `final` is the text of everything up to `stopped`, or `fault` why there is none.

    `probability` is the turn model's opinion of the pause since `stopped`.
    """

    item_id: str
    speaking: bool = True
    stopped: float = 0.0
    final: str | None = None
    fault: str = ""
    language: str = ""
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer under way in the conversation."""

    turn: int
    item_id: str
    gated: bool
    words: tuple[Word, ...] = ()
    played: float = 0.0
    certain: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """A conversation at one moment.

    Attributes:
        key: makes ids unique between conversations.
        utterances: how many the caller has finished; the open one has this number.
        ended: end of the caller's last speech before the open utterance, stream seconds.
        pauses: how long this caller pauses inside a turn.
        pending: finished utterances whose text is not known yet: (number, item id).
        asked: a reply that waits for those texts or for the current reply's end.
        asides: out-of-band replies under way.
        count: of ids and turns given out.
    """

    key: str = ""
    items: Items = ()
    utterance: Utterance | None = None
    utterances: int = 0
    ended: float | None = None
    pauses: Pauses = field(default_factory=Pauses)
    pending: tuple[tuple[int, str], ...] = ()
    reply: Reply | None = None
    asked: Ask | None = None
    asides: frozenset[int] = frozenset()
    count: int = 0


MAX_ASIDES = 4
RESUMED = 2.0
"""Seconds; a caller who speaks again so soon after the end of a turn had not finished."""

Step = tuple[State, tuple[Command, ...]]


def deadline(state: State, policy: Policy) -> float | None:
    """When, in stream seconds, the next Tick is needed; None when nothing is waiting for time to pass."""
    speech = state.utterance
    if speech is None or speech.speaking:
        return None
    if speech.probability is None or policy.eagerness is None:
        return speech.stopped + policy.silence_seconds
    return speech.stopped + silence_needed(
        speech.probability, speech.final, speech.language, state.pauses, policy.eagerness
    )


def step(state: State, event: Event, policy: Policy) -> Step:
    """What `event` makes of the conversation, and what is to be done about it."""
    match event:
        case SpeechStarted(at):
            return _speech_started(state, at, policy)
        case SpeechStopped(at):
            speech = state.utterance and replace(state.utterance, speaking=False, stopped=at)
            return replace(state, utterance=speech), ()
        case Recognised():
            return _recognised(state, event, policy)
        case Judged(utterance, stopped, probability):
            speech = state.utterance
            if speech is None or speech.speaking or (utterance, stopped) != (state.utterances, speech.stopped):
                return state, ()
            return replace(state, utterance=replace(speech, probability=probability)), ()
        case Tick(now):
            due = deadline(state, policy)
            return _close(state, policy) if due is not None and now >= due else (state, ())
        case Commit(at):
            return _commit(state, at, policy)
        case Clear():
            state, commands = _supersede(state)
            cleared = replace(state, utterance=None, utterances=state.utterances + 1)
            return cleared, (*commands, Dropped())
        case Spoken() | Played() | ReplyDone():
            return _progress(state, event)
        case Ask():
            return _ask(state, event)
        case Cancel(turn):
            return _cancel(state, turn)
        case Insert() | Delete() | Truncate():
            items, commands = edit(state.items, event)
            return replace(state, items=items), commands


# The caller speaks ----------------------------------------------------------------------------------------------


def _speech_started(state: State, at: float, policy: Policy) -> Step:
    commands: tuple[Command, ...] = ()
    if state.utterance is None:
        silent = at - state.ended if state.ended is not None else RESUMED
        pauses = state.pauses.heard(silent) if silent < RESUMED else state.pauses.faded()
        state = replace(state, pauses=pauses)
        state, item_id = _new_id(state)
        speech = Utterance(item_id)
        commands = (Opened(item_id, at),)
    else:
        speech = Utterance(state.utterance.item_id)
        if not state.utterance.speaking:
            state = replace(state, pauses=state.pauses.heard(at - state.utterance.stopped))
    state, superseded = _supersede(replace(state, utterance=speech))
    commands += superseded
    if policy.interrupt:
        if state.asked and state.asked.request is None:
            state = replace(state, asked=None)
        if state.reply:
            state, cut = _cut(state, "turn_detected")
            commands += cut
    return state, commands


def _recognised(state: State, event: Recognised, policy: Policy) -> Step:
    transcript = event.transcript
    speech = state.utterance
    if speech and event.utterance == state.utterances:
        shown = () if event.fault else (Shown(speech.item_id, transcript),)
        if not transcript.final or speech.speaking:
            return state, shown
        speech = replace(speech, final=transcript.stable, language=transcript.language, fault=event.fault)
        state = replace(state, utterance=speech)
        if not (policy.speculate and policy.answer and speech.final) or state.reply or state.asked or state.pending:
            return state, shown
        draft = Item(speech.item_id, text=transcript.stable, audio=True)
        state, commands = _begin(state, Ask(), history.insert(state.items, draft), gated=True)
        return state, (*shown, *commands)
    item_id = dict(state.pending).get(event.utterance)
    if item_id is None or not transcript.final:
        return state, ()
    pending = tuple(entry for entry in state.pending if entry[1] != item_id)
    items = tuple(
        replace(item, text=transcript.stable, pending=False) if item.id == item_id else item for item in state.items
    )
    state = replace(state, items=items, pending=pending)
    if state.asked and state.asked.request is None and not transcript.stable:
        state = replace(state, asked=None)
    state, commands = _begin_asked(state)
    return state, (Transcribed(item_id, transcript.stable, event.fault), *commands)


def _commit(state: State, at: float, policy: Policy) -> Step:
    if policy.detect:
        if state.utterance is None:
            return state, (
                Refuse("no speech is in the input audio buffer; nothing to commit", "input_audio_buffer_commit_empty"),
            )
        if state.utterance.speaking:
            state = replace(state, utterance=replace(state.utterance, speaking=False, stopped=at))
        return _close(state, policy, detected=False)
    speech = state.utterance
    if speech is None:
        state, item_id = _new_id(state)
        speech = Utterance(item_id)
    state = replace(state, utterance=replace(speech, speaking=False, stopped=at))
    return _close(state, replace(policy, answer=False), detected=False)


def _close(state: State, policy: Policy, detected: bool = True) -> Step:
    """The open utterance becomes an item, and asks for a reply."""
    speech = state.utterance
    assert speech is not None
    known = speech.final is not None
    item = Item(speech.item_id, text=speech.final or "", audio=True, pending=not known)
    previous = state.items[-1].id if state.items else None
    pending = state.pending if known else (*state.pending, (state.utterances, item.id))
    state = replace(
        state,
        items=history.insert(state.items, item),
        utterance=None,
        utterances=state.utterances + 1,
        ended=speech.stopped if detected else None,
        pending=pending,
    )
    commands: tuple[Command, ...] = (Closed(item, previous, speech.stopped, detected),)
    if known:
        commands += (Transcribed(item.id, item.text, speech.fault),)
    if state.reply and state.reply.gated:
        released = replace(state.reply, gated=False)
        return replace(state, reply=released), (*commands, Release(released.turn))
    if policy.answer and (item.text or not known) and not state.asked:
        state, more = _begin_asked(replace(state, asked=Ask()))
        commands += more
    return state, commands


# Replies --------------------------------------------------------------------------------------------------------


def _ask(state: State, ask: Ask) -> Step:
    if ask.aside:
        if len(state.asides) >= MAX_ASIDES:
            message = f"{MAX_ASIDES} out-of-band responses are running; wait for one to end or cancel it"
            return state, (Refuse(message, "too_many_responses"),)
        items = state.items if ask.items is None else ask.items
        state, turn = replace(state, count=state.count + 1), state.count + 1
        state, item_id = _new_id(state)
        return replace(state, asides=state.asides | {turn}), (Begin(turn, item_id, items, ask, gated=False),)
    state, superseded = _supersede(state)
    if state.reply or state.asked:
        message = "the conversation has an active response; wait for response.done or send response.cancel first"
        return state, (*superseded, Refuse(message, "conversation_already_has_active_response"))
    state, commands = _begin_asked(replace(state, asked=ask))
    return state, (*superseded, *commands)


def _begin_asked(state: State) -> Step:
    """Begin the reply that was asked for, unless it has to wait."""
    if state.asked is None or state.pending or state.reply:
        return state, ()
    ask = state.asked
    items = state.items if ask.items is None else ask.items
    return _begin(replace(state, asked=None), ask, items, gated=False)


def _begin(state: State, ask: Ask, items: Items, gated: bool) -> Step:
    state, item_id = _new_id(state)
    turn = state.count
    return replace(state, reply=Reply(turn, item_id, gated)), (Begin(turn, item_id, items, ask, gated),)


def _supersede(state: State) -> Step:
    """Throw away a reply nobody has heard of."""
    if state.reply is None or not state.reply.gated:
        return state, ()
    return replace(state, reply=None), (Abort(state.reply.turn, "superseded"),)


def _cut(state: State, reason: Reason) -> Step:
    """Stop the reply and keep what was heard of it."""
    reply = state.reply
    assert reply is not None
    item = next((item for item in state.items if item.id == reply.item_id), None)
    if item is not None:
        item = history.heard(replace(item, complete=False), reply.played)
        state = replace(state, items=history.swap(state.items, item))
    return replace(state, reply=None), (Abort(reply.turn, reason, item),)


def _cancel(state: State, turn: int | None) -> Step:
    if turn in state.asides:
        return replace(state, asides=state.asides - {turn}), (Abort(turn, "client_cancelled"),)
    if state.reply and not state.reply.gated and turn in (None, state.reply.turn):
        state, commands = _cut(state, "client_cancelled")
        return _also(state, commands)
    if state.asked and turn is None:
        return replace(state, asked=None), ()
    return state, (Refuse("no response is active", "response_cancel_not_active"),)


def _progress(state: State, event: Spoken | Played | ReplyDone) -> Step:
    if isinstance(event, ReplyDone) and event.turn in state.asides:
        state = replace(state, asides=state.asides - {event.turn})
        return state, (Finish(event.turn, None, event.usage, event.fault),)
    reply = state.reply
    if reply is None or reply.turn != event.turn:
        return state, ()
    match event:
        case Played(_, seconds, certain):
            if certain or not reply.certain:
                state = replace(state, reply=replace(reply, played=seconds, certain=certain))
            return state, ()
        case Spoken(_, text, words):
            reply = replace(reply, words=(*reply.words, *words))
            return replace(state, reply=reply, items=history.say(state.items, reply.item_id, text, reply.words)), ()
        case ReplyDone():
            item = next((item for item in state.items if item.id == reply.item_id), None)
            items = state.items
            if item is not None:
                item = replace(item, complete=not event.fault and event.usage.finish != "length")
                items = history.swap(items, item)
            for call in event.calls:
                items = (*items, Item(call.call_id, "function_call", text=call.arguments, call_id=call.call_id,
                                      name=call.name))  # fmt: skip
            state = replace(state, items=items, reply=None)
            return _also(state, (Finish(reply.turn, item, event.usage, event.fault),))


def _also(state: State, commands: tuple[Command, ...]) -> Step:
    """After these commands, the reply that has been waiting."""
    state, more = _begin_asked(state)
    return state, (*commands, *more)


def _new_id(state: State) -> tuple[State, str]:
    return replace(state, count=state.count + 1), f"item_{state.key}{state.count + 1:05d}"
