"""The engines of one process, opened together."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from msgspec.structs import replace

from streams.lane import Lane
from streams.tap import SILENT, Tap
from voice.answering import Engines
from voice.config import Config, LlmConfig
from voice.engines import EngineError, Llm, Setup, find
from voice.engines.fallback import Fallback
from voice.engines.metered import MeteredAsr, MeteredLlm, MeteredTts
from voice.engines.quick import Quick
from voice.engines.workers import Workers
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
    setup = Setup(config=config, model=store.folder, lane=lane, tap=tap)
    return _llm(setup) if slot == "llm" else find(slot, getattr(config, slot).engine)(setup)


def _llm(setup: Setup) -> Llm:
    """The configured language model, its servers, its fallback and its quick one as one engine."""
    config = setup.config.llm
    llm = _servers(setup, config)
    for name, other in (("fallback", config.fallback), ("quick", config.quick)):
        if not other.engine:
            continue
        try:
            second = _one(setup, config.other(other))
        except EngineError as error:
            raise EngineError(f"[llm.{name}], written like [llm]: {error}") from error
        llm = Fallback(llm, second, setup.tap) if name == "fallback" else Quick(llm, second)
    return llm


def _servers(setup: Setup, config: LlmConfig) -> Llm:
    if not config.workers:
        return _one(setup, config)
    if config.engine == "llama":
        raise EngineError('llm.workers: the embedded engine has none; set llm.engine = "sglang" or "openai"')
    urls = [config.url, *config.workers]
    return Workers([_one(setup, replace(config, url=url)) for url in urls], urls, config, setup.tap)


def _one(setup: Setup, config: LlmConfig) -> Llm:
    engine: Llm = find("llm", config.engine)(dataclasses.replace(setup, config=replace(setup.config, llm=config)))
    return engine


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
