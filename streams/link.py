"""A duplex connection to a caller, whatever carries it."""

from dataclasses import dataclass
from typing import Protocol

import anyio

from streams.channel import Channel, ChannelClosed, Overflow

TRY_AGAIN_LATER = 1013  # RFC 6455 close codes, registered with IANA
STALLED_SECONDS = 2.0

Frame = str | bytes


class LinkClosed(Exception):
    """The connection is over.

    Attributes:
        code: WebSocket close code; 1006 when the peer vanished without one.
        reason: what the closing side said, possibly nothing.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"connection closed with {code}: {reason or 'no reason given'}")
        self.code = code
        self.reason = reason


class SlowReader(LinkClosed):
    """The peer did not take what was sent to it, so the connection was given up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(TRY_AGAIN_LATER, f"nothing was read for {seconds:g} s; read faster or ask for less")


class Link(Protocol):
    """Text and binary frames in both directions. One task receives; several may send.

    Only the caller of `receive` decides how fast the peer may send: what is not received is not read.
    """

    async def receive(self) -> Frame:
        """The next frame.

        Raises:
            LinkClosed: the connection is over, and everything that came before was received.
        """

    async def send(self, frame: Frame) -> None:
        """Hand a frame to the connection, waiting while the peer is behind.

        Raises:
            SlowReader: the peer made no room within the link's limit; the connection is closed.
            LinkClosed: the connection is over.
        """

    def flush(self) -> None:
        """Throw away sound that was sent and has not sounded, where the link knows: only where it plays it itself."""

    async def close(self, code: int, reason: str) -> None:
        """End the connection, within bounded time; a connection that is over stays as it is."""


@dataclass(slots=True)
class _End:
    closed: LinkClosed | None = None


class MemoryLink:
    """One end of a pair made by `memory_pair`."""

    def __init__(self, inbox: Channel[Frame], outbox: Channel[Frame], end: _End, stalled_seconds: float) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._end = end
        self._stalled_seconds = stalled_seconds

    async def receive(self) -> Frame:
        try:
            return await self._inbox.receive()
        except ChannelClosed:
            raise self._why() from None

    async def send(self, frame: Frame) -> None:
        try:
            with anyio.fail_after(self._stalled_seconds):
                await self._outbox.send(frame)
        except ChannelClosed:
            raise self._why() from None
        except TimeoutError:
            slow = SlowReader(self._stalled_seconds)
            await self.close(slow.code, slow.reason)
            raise slow from None

    def flush(self) -> None:
        return

    async def close(self, code: int, reason: str) -> None:
        if self._end.closed is None:
            self._end.closed = LinkClosed(code, reason)
        self._inbox.close()
        self._outbox.close()

    def _why(self) -> LinkClosed:
        end = self._end.closed
        return LinkClosed(end.code, end.reason) if end else LinkClosed(1006, "")


def memory_pair(limit: int, stalled_seconds: float = STALLED_SECONDS) -> tuple[MemoryLink, MemoryLink]:
    """Two connected links in one process; at most `limit` frames are under way in each direction."""
    there = Channel[Frame]("there", limit, Overflow.WAIT)
    back = Channel[Frame]("back", limit, Overflow.WAIT)
    end = _End()
    return MemoryLink(back, there, end, stalled_seconds), MemoryLink(there, back, end, stalled_seconds)
