"""An engine's own threads: bounded waiting, priorities, and a fair share for every session."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from typing import Any, Self, TypeVar

from anyio import CancelScope

from streams.tap import SILENT, Tap

T = TypeVar("T")

_REMEMBERED = 1024  # sessions whose last service is kept
_NICER = 5

_log = logging.getLogger(__name__)


class LaneFull(Exception):
    """More work is waiting than the lane admits."""


class LaneClosed(Exception):
    """The lane takes no more work."""


@dataclass(slots=True, eq=False)
class Job:
    """A call on its way through a lane."""

    call: Callable[[], Any]
    priority: int
    session: str
    arrived: float
    ready: Callable[[], None] | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    abandoned: bool = False
    result: Any = None
    error: BaseException | None = None

    def run(self) -> BaseException | None:
        """Make the call; returns what it raised."""
        try:
            self.result = self.call()
        except BaseException as raised:  # noqa: BLE001 - the caller gets it
            return raised
        return None

    def settle(self, error: BaseException | None) -> None:
        """It is over: wake who waits for it."""
        self.error = error
        self.done.set()


class Lane:
    """At most `threads` calls at a time; the next is the most urgent, then the session served least recently.

    A caller cancelled while waiting leaves the queue at once. Cancelled while its call runs it returns at once too, but
    the slot frees only when the call ends: a native call cannot be stopped. The threads run at a lower OS priority than
    the event loop (Linux), and so do threads that a call starts from there.

    Args:
        name: in metrics and thread names.
        threads: calls that run at a time.
        waiting: most calls that may wait.
        background: calls of this priority, or less urgent, leave one of several threads to the others.
        tap: receives `lane_wait_seconds` and `lane_busy`.
    """

    def __init__(
        self, name: str, threads: int, waiting: int, tap: Tap = SILENT, *, background: int | None = None
    ) -> None:
        self.name = name
        self.threads = threads
        self.waiting = waiting
        self._tap = tap
        self._jobs: list[Job] = []
        self._running = 0
        self._background = background
        self._running_behind = 0  # those of them in the background
        self._served: dict[str, int] = {}
        self._services = 0
        self._open = False
        self._emptied = asyncio.Event()
        self._handover: SimpleQueue[Job | None] = SimpleQueue()  # never more than a job for each free thread
        self._workers: list[threading.Thread] = []

    @property
    def load(self) -> int:
        """Calls that wait or run."""
        return len(self._jobs) + self._running

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._workers = [
            threading.Thread(target=self._work, args=(loop,), name=f"{self.name}-{number}", daemon=True)
            for number in range(self.threads)
        ]
        for worker in self._workers:
            worker.start()
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Refuse new and waiting calls, wait for the running ones, end the threads."""
        self._open = False
        while self._jobs:
            self._jobs.pop().settle(LaneClosed(f"lane {self.name} is closed"))
        try:
            with CancelScope(shield=True):
                while self._running:
                    self._emptied.clear()
                    await self._emptied.wait()
        finally:
            for _ in self._workers:
                self._handover.put(None)
        for worker in self._workers:
            worker.join()

    async def run(
        self, call: Callable[[], T], *, priority: int, session: str, ready: Callable[[], None] | None = None
    ) -> T:
        """Run a blocking call on one of the lane's threads and return what it returns, or raise what it raises.

        Args:
            call: must not touch the event loop.
            priority: lower is sooner; an enum member's name is its label in metrics.
            session: whose share of the lane this takes.
            ready: called on the event loop when the call's turn has come, to give it what is newest then; must not
                raise.

        Raises:
            LaneFull: `waiting` calls wait already.
            LaneClosed: the lane's context was not entered, or is being left.
        """
        if not self._open:
            raise LaneClosed(f"lane {self.name} is closed")
        if len(self._jobs) >= self.waiting and not self._may_run(priority):
            raise LaneFull(f"lane {self.name} is full: {len(self._jobs)} calls wait; try again later")
        job = Job(call, priority, session, asyncio.get_running_loop().time(), ready)
        self._jobs.append(job)
        self._dispatch()
        try:
            await job.done.wait()
        finally:
            if job in self._jobs:
                self._jobs.remove(job)
            job.abandoned = True
        try:
            if job.error is not None:
                raise job.error
            result: T = job.result
            return result
        finally:
            del job  # the error's traceback would hold it, and what the call holds

    def _behind(self, priority: int) -> bool:
        return self._background is not None and priority >= self._background

    def _may_run(self, priority: int) -> bool:
        """Whether a thread is free for a call of this priority."""
        kept = self._behind(priority) and self._running_behind == self.threads - 1 > 0
        return self._running < self.threads and not kept

    def _dispatch(self) -> None:
        """Hand the next job to a free thread, if there are both."""
        able = [job for job in self._jobs if self._may_run(job.priority)]
        if not able:
            return
        job = min(able, key=lambda job: (job.priority, self._served.get(job.session, 0)))  # min is stable
        self._jobs.remove(job)
        self._services += 1
        self._served.pop(job.session, None)
        self._served[job.session] = self._services
        if len(self._served) > _REMEMBERED:
            del self._served[next(iter(self._served))]
        self._running += 1
        self._running_behind += self._behind(job.priority)
        waited = asyncio.get_running_loop().time() - job.arrived
        self._tap.observe("lane_wait_seconds", waited, lane=self.name, priority=label(job.priority))
        self._tap.level("lane_busy", self._running, lane=self.name)
        if job.ready:
            job.ready()
        self._begin(job)

    def _begin(self, job: Job) -> None:
        """Have a free thread make the call; `_finish` follows on the event loop."""
        self._handover.put(job)

    def _finish(self, job: Job, error: BaseException | None) -> None:
        """On the event loop: the job's thread is free again."""
        self._running -= 1
        self._running_behind -= self._behind(job.priority)
        self._tap.level("lane_busy", self._running, lane=self.name)
        if job.abandoned and error is not None:
            _log.warning("a call failed after its caller had left", extra={"lane": self.name}, exc_info=error)
        job.settle(error)
        self._dispatch()
        self._emptied.set()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """A worker thread."""
        _lower_own_priority()
        while (job := self._handover.get()) is not None:
            error = job.run()
            with suppress(RuntimeError):  # the loop was closed without leaving the lane: nobody waits
                loop.call_soon_threadsafe(self._finish, job, error)
            del job, error


def label(priority: int) -> str:
    """What a priority is called in metrics."""
    return priority.name.lower() if isinstance(priority, Enum) else str(priority)


def _lower_own_priority() -> None:
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + _NICER, 19))
