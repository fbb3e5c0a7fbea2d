"""What was said: the items of a conversation, in order, and the prompt made from them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from voice.events import Message, Prompt, ToolCall, Word

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the conversation.

    Attributes:
        id: unique within the conversation.
        kind: what it is.
        role: who speaks; meaningless unless `kind` is "message".
        text: what was said, heard or typed; for a call its arguments, for its output the output.
        audio: it was spoken rather than typed (or is to be spoken).
        words: of a spoken answer: its words with times in seconds from its first sample.
        pending: a spoken user item whose transcript is not known yet.
        complete: False when it was cut short.
        call_id, name: of a function call or its output.
    """

    id: str
    kind: Literal["message", "function_call", "function_call_output"] = "message"
    role: Role = "user"
    text: str = ""
    audio: bool = False
    words: tuple[Word, ...] = ()
    pending: bool = False
    complete: bool = True
    call_id: str = ""
    name: str = ""


class UnknownItem(KeyError):
    """No item of that id is in the conversation."""


Items = tuple[Item, ...]

OPENING = "Hello."
"""What the model answers when it is to speak first: chat templates want a user's message."""


def find(items: Items, item_id: str) -> Item:
    """The item of that id. Raises UnknownItem."""
    for item in items:
        if item.id == item_id:
            return item
    raise UnknownItem(item_id)


def insert(items: Items, item: Item, after: str | None = None) -> Items:
    """With `item` behind the one named `after`; at the end when None, at the front when "root".

    Raises:
        UnknownItem: there is no item `after`.
        ValueError: an item of that id is there already.
    """
    if any(known.id == item.id for known in items):
        raise ValueError(f"item {item.id!r} is already in the conversation; choose another id")
    if after is None:
        return (*items, item)
    if after == "root":
        return (item, *items)
    place = items.index(find(items, after)) + 1
    return (*items[:place], item, *items[place:])


def remove(items: Items, item_id: str) -> Items:
    """Without the item of that id. Raises UnknownItem."""
    gone = find(items, item_id)
    return tuple(item for item in items if item is not gone)


def swap(items: Items, item: Item) -> Items:
    """With the item of the same id replaced; unchanged when it has been deleted meanwhile."""
    return tuple(item if known.id == item.id else known for known in items)


def before(items: Items, item_id: str) -> str | None:
    """Id of the item in front of that one, None for the first. Raises UnknownItem."""
    place = items.index(find(items, item_id))
    return items[place - 1].id if place else None


def say(items: Items, item_id: str, text: str, words: tuple[Word, ...]) -> Items:
    """With `text` added to that answer, which comes into being with its first words; `words` are all of it so far."""
    for item in items:
        if item.id == item_id:
            return swap(items, replace(item, text=item.text + text, words=words))
    return (*items, Item(item_id, role="assistant", text=text, audio=bool(words), words=words, complete=False))


def with_text(item: Item, text: str) -> Item:
    """The item with its text now known."""
    return replace(item, text=text, pending=False)


def heard(item: Item, seconds: float) -> Item:
    """A spoken answer whose text is what had sounded after so many seconds; its words stay, to be cut again.

    A word counts as heard when its middle was reached: that is where listeners recognise most words.
    """
    words = [word.text for word in item.words if (word.start + word.end) / 2 <= seconds]
    if not item.words or (item.complete and len(words) == len(item.words)):
        return item
    return replace(item, text=" ".join(words), complete=False)


def prompt(
    items: Items,
    instructions: str,
    *,
    budget: int,
    tools: tuple[Mapping[str, object], ...] = (),
    tool_choice: str | Mapping[str, object] = "auto",
    max_tokens: int,
    temperature: float,
) -> Prompt:
    """What the model reads: the instructions and the newest items that fit into `budget` tokens.

    The oldest items are dropped first; the last one stays whatever its size. Tokens are estimated from
    above, at three bytes each (measured on English text: 4 to 4.5) plus four a message. Tools count too.
    """
    messages = [message for item in items if (message := _message(item))]
    room = budget - max_tokens - _tokens(instructions) - sum(_tokens(str(tool)) for tool in tools)
    kept: list[Message] = []
    for message in reversed(messages):
        room -= _tokens(message.text) + sum(_tokens(call.arguments) for call in message.calls)
        if room < 0 and kept:
            break
        kept.append(message)
    while len(kept) > 1 and kept[-1].role == "tool":  # an output without its call confuses every template
        kept.pop()
    system = (Message("system", instructions),) if instructions else ()
    said = tuple(reversed(kept)) or (Message("user", OPENING),)
    return Prompt((*system, *said), tools, tool_choice, max_tokens, temperature)


def _tokens(text: str) -> int:
    return len(text.encode()) // 3 + 4


def _message(item: Item) -> Message | None:
    match item.kind:
        case "function_call":
            return Message("assistant", "", calls=(ToolCall(item.call_id, item.name, item.text),))
        case "function_call_output":
            return Message("tool", item.text, call_id=item.call_id)
        case _:
            return Message(item.role, item.text) if item.text else None
