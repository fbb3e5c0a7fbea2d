"""A running part with ports."""

from typing import Protocol, TypeVar

from streams.channel import Channel

In = TypeVar("In")
Out = TypeVar("Out")


class Stage(Protocol[In, Out]):
    """A coroutine that reads one channel and writes another until the inbox ends; it then closes the outbox."""

    async def run(self, inbox: Channel[In], outbox: Channel[Out]) -> None:
        """Work until `inbox` is closed and drained."""
