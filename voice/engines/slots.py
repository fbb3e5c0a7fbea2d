"""Who uses which slot of the embedded engine, what its prompt cache holds, and whether cancelled work has stopped."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio import current_time

from streams.tap import Tap
from voice.engines import EngineError
from voice.engines.prefixes import Texts, shared, texts
from voice.events import Prompt

log = logging.getLogger(__name__)

POLL_SECONDS = 0.015
QUIET_LOOKS = 2
"""Looks in a row that must find a slot idle: a request that was cancelled at once may reach the server after one."""
LEAK_SECONDS = 2.0
STUCK_SECONDS = 10.0


@dataclass
class Slot:
    """One slot, in the hands of one request at a time.

    Attributes:
        texts: what its prompt cache holds, message by message.
        used: order of its last use.
        taken: a request holds it.
        cancelled: when its last request was left before its end, until the engine has been seen to be idle.
        quiet: looks in a row that found it idle since; the first was `idle_after` seconds after the cancelling.
        leaked: it goes on for longer than it may.
    """

    number: int
    texts: Texts = ()
    used: int = 0
    taken: bool = False
    cancelled: float | None = None
    quiet: int = 0
    idle_after: float = 0.0
    leaked: bool = False


@dataclass
class Lease:
    """The use of a slot for one request; `ended` is set once the server has said that it is done."""

    slot: int
    ended: bool = False


@dataclass
class Slots:
    """Hands out slots, each conversation the one whose prompt cache holds most of it, and confirms cancellations.

    Attributes:
        count: how many there are.
        look: asks the engine for the numbers of the slots it works on; None where it did not answer.
        engine: its name in the metrics.
    """

    count: int
    look: Callable[[], Awaitable[set[int] | None]]
    tap: Tap
    engine: str
    _all: list[Slot] = field(init=False)
    _uses: int = 0
    _open: bool = True

    def __post_init__(self) -> None:
        self._all = [Slot(number) for number in range(self.count)]
        self._changed = anyio.Event()

    async def take(self, prompt: Prompt, seconds: float) -> Lease:
        """A slot for this prompt, as soon as one is free; `give_back` it.

        Raises:
            EngineError: none became free within `seconds`, or the engine is gone.
        """
        wanted = texts(prompt)
        with anyio.move_on_after(seconds):
            while self._open:
                slot = self._best(wanted)
                if slot and slot.cancelled is None:
                    slot.texts, slot.taken, self._uses = wanted, True, self._uses + 1
                    slot.used = self._uses
                    return Lease(slot.number)
                await self._changed.wait()
        if not self._open:
            raise EngineError("the embedded language model stopped; it is restarting, try again in a moment")
        raise EngineError("the embedded language model has more work than it can do; try again in a moment")

    def give_back(self, lease: Lease) -> None:
        """The request is over: at its end, or else it is being cancelled, which `watch` follows."""
        slot = self._all[lease.slot]
        slot.taken = False
        if not lease.ended:
            slot.cancelled, slot.quiet, slot.leaked = current_time(), 0, False
        self._notify()

    def close(self) -> None:
        """The engine is gone; whoever waits is told."""
        self._open = False
        self._notify()

    async def watch(self, kill: Callable[[], None]) -> None:
        """Look at the engine while cancelled work may still run; `kill` it where that goes on for too long."""
        while True:
            while not (pending := [slot for slot in self._all if slot.cancelled is not None]):
                await self._changed.wait()
            busy = await self.look()
            for slot in pending:
                self._judge(slot, busy, kill)
            await anyio.sleep(POLL_SECONDS)

    def _judge(self, slot: Slot, busy: set[int] | None, kill: Callable[[], None]) -> None:
        assert slot.cancelled is not None
        seconds = current_time() - slot.cancelled
        slot.quiet = slot.quiet + 1 if busy is not None and slot.number not in busy else 0
        if slot.quiet == 1:
            slot.idle_after = seconds
        if slot.quiet == QUIET_LOOKS:
            self.tap.observe("cancel_to_idle_seconds", slot.idle_after, engine=self.engine)
            slot.cancelled, slot.leaked = None, False
            self._notify()
        elif seconds > LEAK_SECONDS and not slot.leaked:
            slot.leaked = True
            self.tap.count("llm_leaked_total", engine=self.engine)
            log.warning("a cancelled request goes on", extra={"slot": slot.number})
            self._notify()
        elif seconds > STUCK_SECONDS:
            log.error("a cancelled request does not stop; the engine is restarted", extra={"slot": slot.number})
            kill()

    def _best(self, wanted: Texts) -> Slot | None:
        """The slot that holds most of this conversation, even if its last request is only just stopping; else the
        one not used for longest. The instructions, which all callers may share, make no slot this caller's own."""
        able = [slot for slot in self._all if not slot.taken and not slot.leaked]
        if not able:
            return None
        closest = max(able, key=lambda slot: shared(slot.texts, wanted))
        if shared(closest.texts, wanted):
            return closest
        return min(able, key=lambda slot: (slot.cancelled is not None, slot.used, slot.number))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
