"""A link over an ASGI WebSocket."""

import socket
import sys
from typing import Any

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from streams.link import STALLED_SECONDS, Frame, LinkClosed, SlowReader

_CLOSING_SECONDS = 1.0
_REASON_BYTES = 123  # what a close frame holds beside its code, RFC 6455 section 5.5
_SEND_BUFFER = 128 * 1024  # bytes; about two seconds of 24 kHz PCM16 in base64
_GIVE_UP_SECONDS = 30


class WebSocketLink:
    """A link over a WebSocket that is already accepted.

    The server under it must bound the size of a message (uvicorn's `ws_max_size`) and hold back `send` while the peer
    does not read: give uvicorn `ws=WebSocketProtocol` and a listening socket prepared by `bound_sending`.

    Args:
        websocket: accepted, and used by nobody else.
        stalled_seconds: how long a send may wait for the peer to read.
    """

    def __init__(self, websocket: WebSocket, stalled_seconds: float = STALLED_SECONDS) -> None:
        self._websocket = websocket
        self._stalled_seconds = stalled_seconds
        self._end: tuple[int, str] | None = None

    async def receive(self) -> Frame:
        if self._end is not None:
            raise LinkClosed(*self._end)
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise self._ended(message.get("code", 1006), message.get("reason") or "")
        frame: Frame | None = message.get("text")
        return message["bytes"] if frame is None else frame

    async def send(self, frame: Frame) -> None:
        if self._end is not None:
            raise LinkClosed(*self._end)
        try:
            with anyio.fail_after(self._stalled_seconds):
                if isinstance(frame, str):
                    await self._websocket.send_text(frame)
                else:
                    await self._websocket.send_bytes(frame)
        except TimeoutError:
            slow = SlowReader(self._stalled_seconds)
            await self.close(slow.code, slow.reason)
            raise slow from None
        except (WebSocketDisconnect, RuntimeError):  # the latter when the server closed first, after a missed ping, say
            raise LinkClosed(1006, "") from None  # what the peer said last is still to be received

    def flush(self) -> None:
        return

    async def close(self, code: int, reason: str) -> None:
        if self._end is not None:
            return
        self._ended(code, reason)
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
            try:
                await self._websocket.close(code, _cut(reason))
            except (WebSocketDisconnect, RuntimeError):
                return  # the peer was faster

    def _ended(self, code: int, reason: str) -> LinkClosed:
        if self._end is None:
            self._end = code, reason
        return LinkClosed(*self._end)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, with two differences.

    Pings of a peer that does not read are not answered: the answers would pile up. A refusal with a body of its own is
    an answer like any other, and no error in the log.
    """

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response and self.close_sent:
            self.handshake_complete = True

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # takes the answer, and drops it


def bound_sending(listener: socket.socket) -> None:
    """Bound what a peer that does not read can cost; accepted connections inherit it (Linux).

    Keeps the kernel from taking minutes of sound that nobody reads, so that a stall is noticed, and drops a connection
    that acknowledges nothing for 30 s: closing one politely waits for its peer to read, possibly for ever.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GIVE_UP_SECONDS * 1000)


def _cut(reason: str) -> str:
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore")
