"""WebRTC calls: set up when a client offers one, held until either side hangs up."""

import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from streams.admission import Admission, Refused
from streams.link import Link, LinkClosed
from streams.tap import Tap
from streams.webrtc import Ice, WebRtcLink
from voice.answering import Engines
from voice.config import Config
from voice.realtime.server import INVALID, ServerSide
from voice.realtime.shapes import new_id
from voice.session import Session

_log = logging.getLogger(__name__)


class Host(Protocol):
    """What calls need of the gateway."""

    config: Config
    engines: Engines
    tap: Tap
    admission: Admission

    async def host(self, session: Session, link: Link, owner: str, transport: str) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    link: WebRtcLink
    protocol: ServerSide
    owner: str
    setup: ExitStack


class Calls:
    """All WebRTC calls of a server; `open` while it runs."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._setups = Admission(host.config.webrtc.setups, host.tap)
        self._calls: dict[str, _Call] = {}
        self._tasks: TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._calls)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Calls may begin; those left at the end are cut off."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()

    async def begin(self, offer: str, protocol: ServerSide, owner: str) -> tuple[str, str]:
        """Answer an offer, and hold the call from now on.

        Args:
            offer: SDP.
            protocol: made with `media=True`.
            owner: name of the caller's key.

        Returns:
            The call's id, and the answer in SDP.

        Raises:
            Refused: there is no room.
            BadOffer: the offer cannot be answered.
        """
        settings = self._host.config.webrtc
        with ExitStack() as setup:
            self._admit(setup)
            ice = Ice(settings.stun, settings.turn, settings.turn_user, settings.turn_password)
            link = WebRtcLink(ice, self._host.config.limits.stalled_reader_seconds, self._host.tap)
            try:
                answer = await link.answer(offer)
                if self._tasks is None:
                    raise Refused("draining")
                call_id = new_id("rtc")
                self._calls[call_id] = call = _Call(link, protocol, owner, setup.pop_all())
                self._tasks.start_soon(self._hold, call_id, call)
            except BaseException:
                await link.close(1000, "")
                raise
        return call_id, answer

    def _admit(self, setup: ExitStack) -> None:
        """Take a place for setting up, if there will be one for the call."""
        admission = self._host.admission
        if admission.draining or admission.sessions + self._setups.sessions >= admission.limit:
            refused = Refused("draining" if admission.draining else "full")
            self._host.tap.count("sessions_refused_total", reason=refused.reason)
            raise refused
        setup.enter_context(self._setups.admit("webrtc_setup"))

    async def hang_up(self, call_id: str, owner: str) -> bool:
        """End a call of that owner now; whether there is one."""
        call = self._calls.get(call_id)
        if call is None or call.owner != owner:
            return False
        await call.link.close(1000, "hung up")
        return True

    async def _hold(self, call_id: str, call: _Call) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.link.watch, self._host.config.webrtc.lost_seconds)
                await self._talk(call)
                tasks.cancel_scope.cancel()
        finally:
            del self._calls[call_id]
            await call.link.close(1000, "")

    async def _talk(self, call: _Call) -> None:
        link, host = call.link, self._host
        try:
            with call.setup, anyio.move_on_after(host.config.webrtc.setup_seconds) as patience:
                await link.connected()
            if patience.cancelled_caught:
                _log.info("an offered call did not come about", extra={"session": call.protocol.session_id})
                return
            session = Session(link, call.protocol, host.engines, host.config, host.tap)
            link.lost = session.lost
            await host.host(session, link, call.owner, "webrtc")
        except Refused as refused:
            await self._tell(call, str(refused), refused.reason)
        except LinkClosed:
            return
        except Exception:  # noqa: BLE001 - one call must not end the others
            _log.exception("a call failed", extra={"session": call.protocol.session_id})
            await self._tell(call, "the session failed; this is our mistake, and it is in the server's log", None)

    async def _tell(self, call: _Call, message: str, code: str | None) -> None:
        kind = INVALID if code else "server_error"
        try:
            for frame in call.protocol.error(message, type=kind, code=code):
                await call.link.send(frame)
        except LinkClosed:
            return
