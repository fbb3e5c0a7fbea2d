"""The replies of a conversation: asked for, begun, withdrawn, cut, finished. Part of `voice.dialog`; pure."""

from dataclasses import replace

from voice import history
from voice.commands import Abort, Ask, Begin, Cause, Finish, Reason, Refuse, Withdraw
from voice.events import Moved, Played, ReplyDone, Spoken, Word
from voice.history import Item, Items
from voice.state import Reply, State, Step

MAX_ASIDES = 4


def ask(state: State, asked: Ask) -> Step:
    """The client wants a response."""
    if asked.aside:
        if len(state.asides) >= MAX_ASIDES:
            message = f"{MAX_ASIDES} out-of-band responses are running; wait for one to end or cancel it"
            return state, (Refuse(message, "too_many_responses"),)
        items = state.items if asked.items is None else asked.items
        state, turn = replace(state, count=state.count + 1), state.count + 1
        state, item_id = state.new_id()
        return replace(state, asides=state.asides | {turn}), (Begin(turn, item_id, items, asked, gated=False),)
    state, withdrawn = withdraw(state, "overridden")
    if state.reply or state.asked:
        message = "the conversation has an active response; wait for response.done or send response.cancel first"
        return state, (*withdrawn, Refuse(message, "conversation_already_has_active_response"))
    state, commands = begin_asked(replace(state, asked=asked))
    return state, (*withdrawn, *commands)


def begin_asked(state: State) -> Step:
    """Begin the reply that was asked for, unless it has to wait."""
    if state.asked is None or state.pending or state.reply:
        return state, ()
    asked = state.asked
    items = state.items if asked.items is None else asked.items
    return begin(replace(state, asked=None), asked, items, gated=False)


def begin(state: State, asked: Ask, items: Items, *, gated: bool) -> Step:
    """Begin a reply to these items."""
    state, item_id = state.new_id()
    turn = state.count
    return replace(state, reply=Reply(turn, item_id, gated)), (Begin(turn, item_id, items, asked, gated),)


def withdraw(state: State, cause: Cause) -> Step:
    """Throw away a reply nobody has heard of."""
    if state.reply is None or not state.reply.gated:
        return state, ()
    return replace(state, reply=None), (Withdraw(state.reply.turn, cause),)


def cut(state: State, reason: Reason) -> Step:
    """Stop the reply and keep what was heard of it."""
    reply = state.reply
    assert reply is not None
    item = answer(state, reply.item_id)
    if item is not None:
        item = history.heard(replace(item, complete=False), reply.played)
        state = replace(state, items=history.swap(state.items, item))
    return replace(state.silent(), reply=None), (Abort(reply.turn, reason, item),)


def cancel(state: State, turn: int | None) -> Step:
    """The client wants that reply stopped, or the current one."""
    if turn in state.asides:
        return replace(state, asides=state.asides - {turn}), (Abort(turn, "client_cancelled"),)
    if state.reply and not state.reply.gated and turn in (None, state.reply.turn):
        state, commands = cut(state, "client_cancelled")
        state, more = begin_asked(state)
        return state, (*commands, *more)
    if state.asked and turn is None:
        return replace(state, asked=None), ()
    return state, (Refuse("no response is active", "response_cancel_not_active"),)


def progress(state: State, event: Spoken | Played | Moved | ReplyDone) -> Step:
    """A reply goes on by itself."""
    if isinstance(event, ReplyDone) and event.turn in state.asides:
        state = replace(state, asides=state.asides - {event.turn})
        return state, (Finish(event.turn, None, event.usage, event.fault),)
    reply = state.reply
    if reply is None or reply.turn != event.turn:
        return state, ()
    match event:
        case Played(_, seconds):
            return replace(state, reply=replace(reply, played=seconds)), ()
        case Spoken(_, text, words):
            words = (*reply.words, *words)
            items = history.say(state.items, reply.item_id, text, words)
            return replace(state, reply=replace(reply, words=words), items=items), ()
        case Moved(_, place, shift):
            words = tuple(_moved(word, shift) if word.start >= place - 1e-6 else word for word in reply.words)
            item = answer(state, reply.item_id)
            items = history.swap(state.items, replace(item, words=words)) if item else state.items
            return replace(state, reply=replace(reply, words=words), items=items), ()
        case ReplyDone():
            return _finish(state, reply, event)


def answer(state: State, item_id: str) -> Item | None:
    """What was said of a reply so far."""
    return next((item for item in state.items if item.id == item_id), None)


def _moved(word: Word, shift: float) -> Word:
    return replace(word, start=word.start + shift, end=word.end + shift)


def _finish(state: State, reply: Reply, done: ReplyDone) -> Step:
    item, items = answer(state, reply.item_id), state.items
    if item is not None:
        item = replace(item, text=item.text.rstrip(), complete=not done.fault and done.usage.finish != "length")
        items = history.swap(items, item)
    for call in done.calls:
        items = (*items, Item(call.call_id, "function_call", text=call.arguments, call_id=call.call_id, name=call.name))
    state, more = begin_asked(replace(state.silent(), items=items, reply=None))
    return state, (Finish(reply.turn, item, done.usage, done.fault), *more)
