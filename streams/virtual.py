"""Virtual time: an event loop whose clock jumps over waiting, and a lane whose calls take the processor time they need.

What runs on both behaves as on an otherwise idle machine, as fast as the calls compute, and on a busy machine alike.
"""

import asyncio
import selectors
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Self

from streams.lane import Job, Lane, label
from streams.tap import SILENT, Tap


class Deadlock(RuntimeError):
    """Every task waits, and no timer will wake one."""


class _Jumping(selectors.BaseSelector):
    """Polls without waiting; where the real selector would wait, time jumps instead."""

    def __init__(self) -> None:
        self.now = 0.0
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and timeout is None:
            raise Deadlock("every task waits and no timer is scheduled: nothing can happen any more")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at time 0. For code that waits for its own tasks and timers only, not for threads or other processes.

    Raises:
        Deadlock: out of `run_forever`, when nothing can happen any more.
    """

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jumping.now


class VirtualLane(Lane):
    """A lane for a `VirtualLoop`: a call runs inline when its turn comes, and has ended its processor time later.

    Threads, waiting, priorities and fairness are the lane's own, each thread on a core of its own. Processor time is
    that of the whole process, so that a native library's own threads count.

    Attributes:
        spent: processor seconds by session, then by the label of the priority; read and remove what you need.
    """

    def __init__(
        self, name: str, threads: int, waiting: int, tap: Tap = SILENT, *, background: int | None = None
    ) -> None:
        super().__init__(name, threads, waiting, tap, background=background)
        self.spent: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    def _begin(self, job: Job) -> None:
        began = time.process_time()
        error = job.run()
        seconds = time.process_time() - began
        self.spent[job.session][label(job.priority)] += seconds
        asyncio.get_running_loop().call_later(seconds, self._finish, job, error)
