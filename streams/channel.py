"""A bounded, observable edge between tasks of one event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, Self, TypeVar

from anyio.lowlevel import checkpoint_if_cancelled

from streams.tap import SILENT, Tap

T = TypeVar("T")

_ROUNDING = 1e-9  # sums of seconds carry floating-point noise; one sample is 2e-5 s or more


class Overflow(Enum):
    """What a full channel does with one more item."""

    WAIT = "wait"
    DROP_OLDEST = "drop_oldest"
    FAIL = "fail"


class ChannelFull(Exception):
    """The channel fails on overflow, and it is full."""


class ChannelClosed(Exception):
    """No more items go in, or none will come out."""


@dataclass(slots=True, eq=False)
class _Place:
    """A place in a line of waiting tasks."""

    ready: Callable[[], bool]
    called: asyncio.Event = field(default_factory=asyncio.Event)


class Channel(Generic[T]):
    """Items in order, their total weight at most `limit`.

    An item heavier than the limit is admitted when the channel is empty. Waiting senders, and waiting receivers, are
    served first come, first served. A `send` that raises (cancellation too) put nothing in; a `receive` that raises
    took nothing out.

    Args:
        name: the edge's name in metrics.
        limit: most weight held, in the unit of `weigh`: seconds of audio, or a count.
        overflow: what happens when an item does not fit.
        weigh: weight of an item, not negative; one by default.
        tap: receives `edge_seconds` and `edge_dropped_seconds_total` in the unit of `weigh`.
    """

    def __init__(
        self,
        name: str,
        limit: float,
        overflow: Overflow,
        weigh: Callable[[T], float] = lambda _: 1.0,
        tap: Tap = SILENT,
    ) -> None:
        self.name = name
        self.limit = limit
        self.overflow = overflow
        self._weigh = weigh
        self._tap = tap
        self._items: deque[tuple[T, float]] = deque()
        self._weight = 0.0
        self._reported = 0.0
        self._closed = False
        self._senders: deque[_Place] = deque()
        self._receivers: deque[_Place] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    @property
    def weight(self) -> float:
        """Total weight of the items held."""
        return self._weight

    @property
    def closed(self) -> bool:
        """Whether `close` was called; items may still be there."""
        return self._closed

    async def send(self, item: T) -> None:
        """Put an item in; on a full channel wait, drop the oldest items or fail, as `overflow` says.

        Raises:
            ChannelFull: overflow is FAIL and the item does not fit.
            ChannelClosed: the channel is closed, or was closed while waiting.
        """
        await checkpoint_if_cancelled()
        weight = self._weigh(item)
        if self.overflow is Overflow.WAIT:
            await self._turn(self._senders, lambda: self._fits(weight))
        self._put(item, weight)

    def offer(self, item: T) -> bool:
        """Put an item in without waiting; False (and nothing put in) if `overflow` is WAIT and it does not fit.

        Raises:
            ChannelFull: overflow is FAIL and the item does not fit.
            ChannelClosed: the channel is closed.
        """
        weight = self._weigh(item)
        full = bool(self._senders) or not self._fits(weight)
        if self.overflow is Overflow.WAIT and full and not self._closed:
            return False
        self._put(item, weight)
        return True

    async def receive(self) -> T:
        """Take the oldest item, waiting for one.

        Raises:
            ChannelClosed: the channel is closed and empty.
        """
        await checkpoint_if_cancelled()
        await self._turn(self._receivers, lambda: bool(self._items))
        if not self._items:
            raise ChannelClosed(f"channel {self.name} is closed")
        item = self._take()
        self._changed()
        return item

    def clear(self, picked: Callable[[T], bool] = lambda _: True) -> list[T]:
        """Throw away what is held (of it, what is `picked`) and return it, oldest first.

        Senders that wait go on waiting, for the room won.
        """
        thrown = [entry for entry in self._items if picked(entry[0])]
        if thrown:
            before = self._weight
            self._items = deque(entry for entry in self._items if not picked(entry[0]))
            self._weight = sum(weight for _, weight in self._items)
            self._tap.count("edge_dropped_seconds_total", before - self._weight, edge=self.name, reason="cleared")
            self._changed()
        return [item for item, _ in thrown]

    def close(self) -> None:
        """Let nothing more in: receivers get what is held and then end, senders that wait fail. May be repeated."""
        self._closed = True
        for place in (*self._senders, *self._receivers):
            place.called.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except ChannelClosed:
            raise StopAsyncIteration from None

    def _fits(self, weight: float) -> bool:
        return not self._items or self._weight + weight <= self.limit * (1 + _ROUNDING)

    def _put(self, item: T, weight: float) -> None:
        if self._closed:
            raise ChannelClosed(f"channel {self.name} is closed")
        if self.overflow is Overflow.FAIL and not self._fits(weight):
            raise ChannelFull(f"channel {self.name} is full: {self._weight:g} of {self.limit:g} held, {weight:g} more")
        before = self._weight
        while not self._fits(weight):
            self._take()
        if self._weight < before:
            dropped = before - self._weight
            self._tap.count("edge_dropped_seconds_total", dropped, edge=self.name, reason="overflow")
        self._items.append((item, weight))
        self._weight += weight
        self._changed()

    def _take(self) -> T:
        item, weight = self._items.popleft()
        self._weight = self._weight - weight if self._items else 0.0
        return item

    def _changed(self) -> None:
        self._tap.shift("edge_seconds", self._weight - self._reported, edge=self.name)
        self._reported = self._weight
        self._call()

    async def _turn(self, line: deque[_Place], ready: Callable[[], bool]) -> None:
        """Wait in line until it is this task's turn or the channel is closed; the caller then acts without awaiting."""
        if self._closed or (not line and ready()):
            return
        place = _Place(ready)
        line.append(place)
        try:
            while not (self._closed or (line[0] is place and ready())):
                place.called.clear()
                await place.called.wait()
        except BaseException:
            line.remove(place)
            self._call()
            raise
        line.remove(place)

    def _call(self) -> None:
        """Wake whoever is first in a line and can go on."""
        for line in (self._senders, self._receivers):
            if line and line[0].ready():
                line[0].called.set()
