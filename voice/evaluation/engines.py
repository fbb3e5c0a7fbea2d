"""Engines for an evaluation: the configured ones, watched, and a stand-in for those that have no part in it."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from streams.audio import Audio
from streams.lane import Lane
from streams.virtual import VirtualLane
from voice.answering import Engines
from voice.config import Config
from voice.engines import Asr, EngineError, Newest, TurnModel, Vad, VadStream
from voice.events import Hypothesis, Priority
from voice.models import Store
from voice.service import WAITING, open_engine

Spent = defaultdict[str, float]
"""Engine seconds by job."""
FINALS = (Priority.FINAL, Priority.SPECULATIVE)


class Absent:
    """Stands where an engine is needed that nobody may ask."""

    def __getattr__(self, name: str) -> NoReturn:
        raise EngineError("an evaluation answers nothing: only hearing is measured")


@dataclass(frozen=True)
class Ears:
    """The engines that hear, and their lanes."""

    vad: Vad
    asr: Asr
    turn: TurnModel | None
    lanes: tuple[Lane, ...]

    def watched(self, spent: Spent, decoded: Callable[[Hypothesis], None]) -> Engines:
        """The same for one session.

        Args:
            spent: gets the engine seconds by job.
            decoded: is told each final decode.
        """
        absent: Any = Absent()
        asr = _WatchedAsr(self.asr, spent, decoded)
        return Engines(_WatchedVad(self.vad, spent), asr, absent, absent, self.turn)

    def settle(self, session: str, spent: Spent) -> None:
        """Put the processor time that virtual lanes spent on a session in the place of what the engines say."""
        for lane in self.lanes:
            if isinstance(lane, VirtualLane):
                jobs: dict[str, float] = lane.spent.pop(session, Spent(float))
                if lane.name == "asr":
                    spent.update(jobs)
                elif jobs:
                    spent[lane.name] = sum(jobs.values())


@asynccontextmanager
async def open_ears(config: Config, store: Store, lane: type[Lane]) -> AsyncIterator[Ears]:
    """Load what hears.

    Raises:
        EngineError: an engine does not load.
        ModelError: a model is not in the store.
    """
    threads = {"vad": 1, "asr": config.asr.lanes, **({"endpoint": 1} if config.endpoint.engine else {})}
    async with AsyncExitStack() as opened, AsyncExitStack() as entered:  # no engine goes while a call runs on it
        found, lanes = {}, []
        for slot, count in threads.items():
            lanes.append(await entered.enter_async_context(lane(slot, count, WAITING)))
            found[slot] = await opened.enter_async_context(open_engine(slot, config, store, lanes[-1]))
        yield Ears(found["vad"], found["asr"], found.get("endpoint"), tuple(lanes))


class FinalsOnly:
    """A recogniser that hears nothing while the caller speaks, at no cost: for what only final texts decide.

    Args:
        asr: asked for final texts; None: nothing is heard at all, for what the voice detector alone decides.
    """

    name = "finals-only"

    def __init__(self, asr: Asr | None) -> None:
        self._asr = asr
        self.languages = asr.languages if asr else ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def transcribe(
        self,
        audio: Audio | Newest,
        *,
        priority: Priority,
        session: str,
        language: str = "",
        likely: str = "",
        translate: bool = False,
    ) -> Hypothesis:
        """See `voice.engines.Asr`."""
        if self._asr is None or priority not in FINALS:
            return Hypothesis(())
        return await self._asr.transcribe(
            audio, priority=priority, session=session, language=language, likely=likely, translate=translate
        )


class _Watched:
    """What the watched engines share: they are entered elsewhere."""

    def __init__(self, engine: Any, spent: Spent) -> None:
        self.name: str = engine.name
        self._engine = engine
        self._spent = spent

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exc: object) -> None: ...


class _WatchedAsr(_Watched):
    def __init__(self, asr: Asr, spent: Spent, decoded: Callable[[Hypothesis], None]) -> None:
        super().__init__(asr, spent)
        self._decoded = decoded

    @property
    def languages(self) -> tuple[str, ...]:
        languages: tuple[str, ...] = self._engine.languages
        return languages

    async def transcribe(
        self,
        audio: Audio | Newest,
        *,
        priority: Priority,
        session: str,
        language: str = "",
        likely: str = "",
        translate: bool = False,
    ) -> Hypothesis:
        found: Hypothesis = await self._engine.transcribe(
            audio, priority=priority, session=session, language=language, likely=likely, translate=translate
        )
        self._spent[priority.name.lower()] += found.seconds
        if priority in FINALS:
            self._decoded(found)
        return found


class _WatchedVad(_Watched):
    def stream(self) -> VadStream:
        return _WatchedStream(self._engine.stream(), self._spent)


@dataclass(frozen=True)
class _WatchedStream:
    stream: VadStream
    spent: Spent

    def push(self, audio: Audio) -> list[float]:
        began = time.thread_time()
        found = self.stream.push(audio)
        self.spent["vad"] += time.thread_time() - began
        return found
