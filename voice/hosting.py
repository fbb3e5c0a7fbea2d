"""A session for as long as its key has minutes."""

import logging

import anyio

from streams.link import Link, LinkClosed
from voice.quota import Meter
from voice.session import Session

TICK = 1.0
"""Seconds between two looks into the key's book."""
OVER = 1008

_log = logging.getLogger(__name__)


async def host(session: Session, link: Link, meter: Meter, patience: float) -> None:
    """Run a session to its end; where the key's minutes run out, say so, let a reply end, and close.

    Args:
        meter: what the session is charged to.
        patience: seconds that a reply under way may go on.

    Raises:
        LinkClosed: the client does not take what it is sent.
    """
    began, ended = anyio.current_time(), None

    def charge() -> None:
        meter.charge(anyio.current_time() - began, session.heard_seconds)

    async def watch() -> None:
        while not (over := meter.spent()):
            await anyio.sleep(TICK)
            charge()
        _log.info("a call ends because its key has used what it may", extra={"key": meter.owner})
        session.leave(OVER, str(over), error="rate_limit_exceeded")
        await anyio.sleep(patience)
        await link.close(OVER, str(over))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        try:
            await session.run()
        except LinkClosed as closed:
            ended = closed
        finally:
            charge()
            tasks.cancel_scope.cancel()
    if ended:
        raise ended
