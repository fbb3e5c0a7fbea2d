"""All turn taking in one pure function: `step(state, event, policy) -> (state, commands)`.

The state is what the conversation is, the event what just happened, the commands what the session has to do about
it. There is no clock and no randomness here: times are seconds on the caller's stream, ids count up from a key.

This module follows the caller through a turn. What a voice over an answer means is settled in `voice.barging`, what
becomes of answers in `voice.replies`, what the client does to the conversation's items in `voice.editing`.
"""

import re
from dataclasses import replace

from voice import barging, history, replies
from voice.commands import (
    Ask,
    Cancel,
    Clear,
    Closed,
    Command,
    Commit,
    Delete,
    Dropped,
    Idle,
    Insert,
    Opened,
    Refuse,
    Release,
    Shown,
    Transcribed,
    Truncate,
    Warm,
)
from voice.editing import edit
from voice.endpoint import silence_needed
from voice.events import (
    Judged,
    Moved,
    Played,
    Recognised,
    ReplyDone,
    SpeechStarted,
    SpeechStopped,
    Spoken,
    Tick,
    Transcript,
)
from voice.history import Item
from voice.interruption import believed
from voice.state import Pending, Policy, State, Step, Utterance

Event = (
    SpeechStarted
    | SpeechStopped
    | Recognised
    | Judged
    | Tick
    | Spoken
    | Played
    | Moved
    | ReplyDone
    | Ask
    | Cancel
    | Commit
    | Clear
    | Insert
    | Delete
    | Truncate
)

RESUMED = 2.0
"""Seconds; a caller who speaks again so soon after the end of a turn had not finished."""
TRIES = 3
"""Replies begun behind the gate for one utterance; after that the end of the turn is waited for."""
NEW_WORDS = 4
"""Words that the language model is given to read ahead at a time."""
_BROKEN = re.compile(r"\.(?= [a-z])")
"""A full stop that the recogniser put at a pause; once it has heard what follows, it is a comma or nothing."""
UTTERED, UNHEARD = 0.6, 0.3
"""An utterance of so many seconds, in which the recogniser is so sure that somebody spoke, was not understood; what is
shorter or less sure was no speech."""


def deadline(state: State, policy: Policy) -> float | None:
    """When, in stream seconds, the next Tick is needed; None when nothing is waiting for time to pass."""
    speech = state.utterance
    if speech is None:
        return _idle_at(state, policy)
    if speech.over:
        return barging.deadline(state)
    if speech.speaking:
        return None
    end = _end(state, speech, policy)
    begin = end - policy.lead
    return begin if state.now < begin and _may_begin(state, policy) else end


def step(state: State, event: Event, policy: Policy) -> Step:
    """What `event` makes of the conversation, and what is to be done about it."""
    match event:
        case SpeechStarted(at):
            return _speech_started(state, at, policy)
        case SpeechStopped(at, known):
            speech = state.utterance and replace(state.utterance, speaking=False, stopped=at)
            return _judged(replace(state, now=max(state.now, known), utterance=speech), policy)
        case Recognised():
            return _recognised(state, event, policy)
        case Judged(utterance, stopped, probability):
            speech = state.utterance
            if speech is None or speech.speaking or (utterance, stopped) != (state.utterances, speech.stopped):
                return state, ()
            return _judged(replace(state, utterance=replace(speech, probability=probability)), policy)
        case Tick(now):
            return _time_passed(replace(state, now=max(state.now, now)), policy)
        case Commit(at):
            return _commit(state, at, policy)
        case Clear():
            state, withdrawn = replies.withdraw(state, "cleared")
            state, restored = barging.forget(state)
            cleared = replace(state, utterance=None, utterances=state.utterances + 1)
            return cleared, (*withdrawn, *restored, Dropped())
        case Spoken() | Played() | Moved() | ReplyDone():
            return replies.progress(state, event)
        case Ask():
            return replies.ask(state, event)
        case Cancel(turn):
            return replies.cancel(state, turn)
        case Insert() | Delete() | Truncate():
            items, commands = edit(state.items, event)
            return replace(state.silent(), items=items), commands


# The caller speaks ----------------------------------------------------------------------------------------------


def _speech_started(state: State, at: float, policy: Policy) -> Step:
    speech = state.utterance
    if speech is not None:
        if not speech.speaking:
            state = replace(state, pauses=state.pauses.heard(at - speech.stopped))
        speech = replace(speech, speaking=True, final=None, fault="", probability=None)
        state, commands = replies.withdraw(replace(state, utterance=speech), "resumed")
        return (state, commands) if speech.over else _interrupted(state, policy, commands)
    silent = at - state.ended if state.ended is not None else RESUMED
    pauses = state.pauses.heard(silent) if silent < RESUMED else state.pauses.faded()
    state, item_id = replace(state, pauses=pauses).new_id()
    state, commands = replies.withdraw(replace(state, utterance=Utterance(item_id, began=at)), "resumed")
    if policy.interrupt and barging.undecided(state):
        state, ducked = barging.duck(state)
        return state, (*commands, *ducked)
    return _interrupted(state, policy, (*commands, Opened(item_id, at)))


def _interrupted(state: State, policy: Policy, before: tuple[Command, ...]) -> Step:
    """The caller speaks: what is still to be said to what came before is not said."""
    commands = before
    if policy.interrupt:
        if state.asked and state.asked.request is None:
            state = replace(state, asked=None)
        if state.reply:
            state, cut = replies.cut(state, "turn_detected")
            commands = (*commands, *cut)
    if policy.answer and not state.reply and not (state.utterance and state.utterance.warmed):
        commands = (*commands, Warm(state.items))
    return state, commands


def _recognised(state: State, event: Recognised, policy: Policy) -> Step:
    if not (state.utterance and event.utterance == state.utterances):
        return _recognised_late(state, event, policy)
    transcript = event.transcript
    sure = believed(transcript, state.utterance.text)
    speech = replace(state.utterance, text=transcript.text, sure=sure, looked=transcript.upto)
    if transcript.final and not speech.speaking:
        speech = replace(
            speech,
            final=transcript.stable,
            language=transcript.language,
            no_speech=transcript.no_speech,
            fault=event.fault,
        )
    commands: tuple[Command, ...] = () if event.fault or speech.over else (Shown(speech.item_id, transcript),)
    words = len(speech.text.split())
    if policy.answer and speech.speaking and not (state.reply or speech.over) and words >= speech.warmed + NEW_WORDS:
        speech = replace(speech, warmed=words)
        draft = Item(speech.item_id, text=_BROKEN.sub(",", speech.text), audio=True)
        commands = (*commands, Warm(history.insert(state.items, draft)))
    state, more = _judged(replace(state, utterance=speech), policy)
    return state, (*commands, *more)


def _judged(state: State, policy: Policy) -> Step:
    """Something more is known about the open utterance."""
    if state.utterance and state.utterance.over:
        return barging.judge(state)
    return _speculate(state, policy)


def _speculate(state: State, policy: Policy) -> Step:
    """Begin the reply behind the gate, if the turn will probably end soon."""
    speech = state.utterance
    if not (speech and _may_begin(state, policy) and state.now >= _end(state, speech, policy) - policy.lead):
        return state, ()
    draft = Item(speech.item_id, text=speech.final or "", audio=True)
    state = replace(state, utterance=replace(speech, tries=speech.tries + 1))
    return replies.begin(state, Ask(), history.insert(state.items, draft), gated=True)


def _may_begin(state: State, policy: Policy) -> bool:
    speech = state.utterance
    if not (policy.lead and policy.answer and speech and speech.final) or speech.speaking or speech.over:
        return False
    return speech.tries < TRIES and not (state.reply or state.asked or state.pending)


# The caller has finished ----------------------------------------------------------------------------------------


def _end(state: State, speech: Utterance, policy: Policy) -> float:
    """When the silence since the last speech will have ended the turn, stream seconds."""
    if speech.probability is None or policy.eagerness is None:
        return speech.stopped + policy.silence_seconds
    return speech.stopped + silence_needed(
        speech.probability, speech.final, speech.language, state.pauses, policy.eagerness
    )


def _idle_at(state: State, policy: Policy) -> float | None:
    """When a caller who says nothing is asked about it, stream seconds."""
    if not (policy.idle_seconds and policy.answer) or state.quiet is None:
        return None
    return None if state.reply or state.asked or state.pending else state.quiet + policy.idle_seconds


def _time_passed(state: State, policy: Policy) -> Step:
    speech = state.utterance
    if speech is None:
        due = _idle_at(state, policy)
        return _ask_whether_there(state, policy) if due is not None and state.now >= due else (state, ())
    if speech.over:
        return barging.judge(state)
    if speech.speaking:
        return state, ()
    return _close(state, policy) if state.now >= _end(state, speech, policy) else _speculate(state, policy)


def _ask_whether_there(state: State, policy: Policy) -> Step:
    state, item_id = state.new_id()
    item = Item(item_id, audio=True)
    previous = state.items[-1].id if state.items else None
    idle = Idle(item, previous, state.now - policy.idle_seconds, state.now)
    state = replace(state, items=history.insert(state.items, item), quiet=None, asked=Ask(say=policy.phrases.idle))
    state, commands = replies.begin_asked(state)
    return state, (idle, *commands)


def _commit(state: State, at: float, policy: Policy) -> Step:
    state, opened = barging.settle(state)
    if policy.detect:
        if state.utterance is None:
            return state, (
                Refuse("no speech is in the input audio buffer; nothing to commit", "input_audio_buffer_commit_empty"),
            )
        if state.utterance.speaking:
            state = replace(state, utterance=replace(state.utterance, speaking=False, stopped=at))
        state, closed = _close(state, policy, detected=False)
        return state, (*opened, *closed)
    speech = state.utterance
    if speech is None:
        state, item_id = state.new_id()
        speech = Utterance(item_id, began=at)
    state = replace(state, utterance=replace(speech, speaking=False, stopped=at))
    state, closed = _close(state, replace(policy, answer=False), detected=False)
    return state, (*opened, *closed)


def _close(state: State, policy: Policy, detected: bool = True) -> Step:
    """The open utterance becomes an item, and asks for a reply."""
    speech = state.utterance
    assert speech is not None
    known = speech.final is not None
    item = Item(speech.item_id, text=speech.final or "", audio=True, pending=not known)
    previous = state.items[-1].id if state.items else None
    late = Pending(state.utterances, item.id, speech.stopped - speech.began)
    state = replace(
        state,
        items=history.insert(state.items, item),
        utterance=None,
        utterances=state.utterances + 1,
        ended=speech.stopped if detected else None,
        quiet=state.now,
        pending=state.pending if known else (*state.pending, late),
    )
    commands: tuple[Command, ...] = (Closed(item, previous, speech.stopped, detected),)
    if not known:
        waiting = replace(state, asked=Ask()) if policy.answer and not state.asked else state
        state, more = replies.begin_asked(waiting)
        return state, (*commands, *more)
    commands = (*commands, Transcribed(item.id, item.text, speech.fault))
    if state.reply and state.reply.gated:
        state = replace(state, reply=replace(state.reply, gated=False), repaired=False)
        return state, (*commands, Release(state.reply.turn))  # type: ignore[union-attr]
    if policy.answer and not state.asked:
        transcript = Transcript(item.text, "", True, speech.stopped, no_speech=speech.no_speech)
        state = replace(state, asked=_reaction(state, transcript, speech.fault, late.seconds, policy))
        state = replace(state, repaired=bool(state.asked and state.asked.say))
    state, more = replies.begin_asked(state)
    return state, (*commands, *more)


def _recognised_late(state: State, event: Recognised, policy: Policy) -> Step:
    """The text of an utterance that is over."""
    late = next((late for late in state.pending if late.number == event.utterance), None)
    if late is None or not event.transcript.final:
        return state, ()
    text = event.transcript.stable
    items = tuple(replace(item, text=text, pending=False) if item.id == late.item_id else item for item in state.items)
    pending = tuple(other for other in state.pending if other is not late)
    state = replace(state, items=items, pending=pending)
    if state.asked and state.asked.request is None:
        reaction = _reaction(state, event.transcript, event.fault, late.seconds, policy)
        state = replace(state, asked=reaction, repaired=bool(reaction and reaction.say))
    state, commands = replies.begin_asked(state)
    return state, (Transcribed(late.item_id, text, event.fault), *commands)


def _reaction(state: State, transcript: Transcript, fault: str, seconds: float, policy: Policy) -> Ask | None:
    """What a finished utterance asks for: an answer, or that it be said again, or nothing if it was no speech."""
    if transcript.stable:
        return Ask()
    spoken = seconds >= UTTERED and transcript.no_speech <= UNHEARD
    if (fault or spoken) and policy.phrases.repair and not state.repaired:
        return Ask(say=policy.phrases.repair)
    return None
