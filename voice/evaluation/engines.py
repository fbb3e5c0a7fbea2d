"""Engines for an evaluation: the configured ones, watched, and a stand-in for those that have no part in it."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from streams.audio import Audio
from streams.lane import Lane
from streams.tap import Silent
from streams.virtual import VirtualLane
from voice.answering import Engines
from voice.config import Config
from voice.engines import Asr, EngineError, Newest, TurnModel, Vad, VadStream
from voice.engines.metered import MeteredAsr
from voice.evaluation.take import FINAL_JOBS, Take
from voice.events import Hypothesis, Priority
from voice.models import Store
from voice.service import WAITING, open_engine


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

    def watched(self, take: Take) -> Engines:
        """The same for one session; what they do is noted in the take."""
        absent: Any = Absent()
        return Engines(_WatchedVad(self.vad, take.spent), MeteredAsr(self.asr, _Books(take)), absent, absent, self.turn)

    def settle(self, session: str, spent: dict[str, float]) -> None:
        """Put the processor time that virtual lanes spent on a session in the place of what the engines say."""
        for lane in self.lanes:
            if isinstance(lane, VirtualLane):
                jobs: dict[str, float] = lane.spent.pop(session, {})
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

    async def transcribe(self, audio: Audio | Newest, *, priority: Priority, **how: Any) -> Hypothesis:
        """See `voice.engines.Asr`."""
        if self._asr is None or priority.name.lower() not in FINAL_JOBS:
            return Hypothesis(())
        return await self._asr.transcribe(audio, priority=priority, **how)


@dataclass(frozen=True)
class _Books(Silent):
    """A tap that notes down what recognition did for one clip."""

    take: Take

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        if name == "asr_second_looks_total":
            self.take.retried += 1

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        if name == "engine_seconds":
            self.take.spent[labels["job"]] += value
            if labels["job"] in FINAL_JOBS:
                self.take.finals += 1
                self.take.latest = value


class _WatchedVad:
    """The voice detector, which was entered elsewhere."""

    def __init__(self, vad: Vad, spent: dict[str, float]) -> None:
        self.name = vad.name
        self._vad = vad
        self._spent = spent

    def stream(self) -> VadStream:
        return _WatchedStream(self._vad.stream(), self._spent)


@dataclass(frozen=True)
class _WatchedStream:
    stream: VadStream
    spent: dict[str, float]

    def push(self, audio: Audio) -> list[float]:
        began = time.thread_time()
        found = self.stream.push(audio)
        self.spent["vad"] += time.thread_time() - began
        return found
