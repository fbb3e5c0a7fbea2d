"""The engines of one process, opened together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from streams.lane import Lane
from streams.tap import SILENT, Tap
from voice.answering import Engines
from voice.config import Config
from voice.engines import Setup, find
from voice.engines.metered import MeteredAsr, MeteredLlm, MeteredTts
from voice.events import Priority
from voice.models import Store

WAITING = 256
"""Calls that may wait on one lane: several for each of the callers a machine can hold."""


def open_engine(slot: str, config: Config, store: Store, lane: Lane, tap: Tap = SILENT) -> Any:
    """Build the engine that a slot ("vad", "endpoint", "asr", "llm", "tts") is configured to use; enter it to load it.

    Raises:
        EngineError: no such engine.
        ModelError: its model is not in the store.
    """
    return find(slot, getattr(config, slot).engine)(Setup(config=config, model=store.folder, lane=lane, tap=tap))


@asynccontextmanager
async def open_engines(config: Config, store: Store, tap: Tap) -> AsyncIterator[Engines]:
    """Load what the configuration names, and meter it.

    Raises:
        EngineError: no such engine, or it does not load.
        ModelError: a model's files are not in the store.
    """
    threads = {"vad": 1, "endpoint": 1, "asr": config.asr.lanes, "llm": 1, "tts": config.tts.lanes}
    if not config.endpoint.engine:
        del threads["endpoint"]
    async with AsyncExitStack() as opened, AsyncExitStack() as lanes:  # no engine goes while a call runs on it
        found = {}
        busiest: list[Lane] = []
        for slot, count in threads.items():
            lane = await lanes.enter_async_context(Lane(slot, count, WAITING, tap, background=Priority.BATCH))
            busiest += [lane] if slot in ("asr", "tts") else []
            found[slot] = await opened.enter_async_context(open_engine(slot, config, store, lane, tap))
        yield Engines(
            found["vad"],
            MeteredAsr(found["asr"], tap),
            MeteredLlm(found["llm"], tap),
            MeteredTts(found["tts"], tap),
            found.get("endpoint"),
            lambda: max(lane.load / lane.threads for lane in busiest),
        )
