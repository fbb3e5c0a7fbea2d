"""The engines of one process, opened together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from streams.lane import Lane
from streams.tap import Tap
from voice.answering import Engines
from voice.config import Config
from voice.engines import Setup, find
from voice.engines.metered import MeteredAsr, MeteredLlm, MeteredTts
from voice.models import Store

WAITING = 256
"""Calls that may wait on one lane: several for each of the callers a machine can hold."""


@asynccontextmanager
async def open_engines(config: Config, store: Store, tap: Tap) -> AsyncIterator[Engines]:
    """Load what the configuration names, and meter it.

    Raises:
        EngineError: no such engine, or it does not load.
        ModelError: a model's files are not in the store.
    """
    threads = {"vad": 1, "asr": config.asr.lanes, "llm": 1, "tts": config.tts.lanes}
    async with AsyncExitStack() as stack:
        found = {}
        for slot, count in threads.items():
            lane = await stack.enter_async_context(Lane(slot, count, WAITING, tap))
            engine = find(slot, getattr(config, slot).engine)
            found[slot] = await stack.enter_async_context(engine(Setup(config, store.folder, lane, tap)))
        yield Engines(
            found["vad"], MeteredAsr(found["asr"], tap), MeteredLlm(found["llm"], tap), MeteredTts(found["tts"], tap)
        )
