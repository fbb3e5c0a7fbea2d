"""An engine's own threads: bounded waiting, priorities, and a fair share for every session."""

from collections.abc import Callable
from typing import Self, TypeVar

from streams.tap import SILENT, Tap

T = TypeVar("T")


class LaneFull(Exception):
    """More work is waiting than the lane admits."""


class Lane:
    """At most `threads` calls at a time; the next is the most urgent, then the session served least recently."""

    def __init__(self, name: str, threads: int, waiting: int, tap: Tap = SILENT) -> None:
        self.name = name
        self.threads = threads
        self.waiting = waiting
        self._tap = tap

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        raise NotImplementedError

    async def run(self, call: Callable[[], T], *, priority: int, session: str) -> T:
        """Run a blocking call on one of the lane's threads and return what it returns."""
        raise NotImplementedError
