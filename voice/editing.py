"""The client edits the conversation's items. Pure."""

from voice import history
from voice.commands import Added, Command, Delete, Deleted, Insert, Refuse, Truncate, Truncated
from voice.history import Items


def edit(items: Items, event: Insert | Delete | Truncate) -> tuple[Items, tuple[Command, ...]]:
    """The items after the edit, and what the client is told of it; the same items where it is refused."""
    try:
        match event:
            case Insert(item, after):
                items = history.insert(items, item, after)
                return items, (Added(item, history.before(items, item.id)),)
            case Delete(item_id):
                return history.remove(items, item_id), (Deleted(item_id),)
            case Truncate(item_id, seconds):
                item = history.find(items, item_id)
                if item.role != "assistant" or not item.audio:
                    message = f"item {item_id!r} is no spoken answer; only those can be truncated"
                    return items, (Refuse(message, "invalid_item", "item_id"),)
                return history.swap(items, history.heard(item, seconds)), (Truncated(item_id, seconds),)
    except history.UnknownItem as error:
        message = f"no item {error.args[0]!r} is in the conversation; use an id from conversation.item.added"
        return items, (
            Refuse(message, "item_not_found", "previous_item_id" if isinstance(event, Insert) else "item_id"),
        )
    except ValueError as error:
        return items, (Refuse(str(error), "duplicate_item", "item.id"),)
