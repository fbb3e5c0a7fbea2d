"""The engines of one process, opened together."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import anyio
from msgspec.structs import replace

from streams.lane import Lane
from streams.tap import SILENT, Tap
from voice.answering import Engines
from voice.config import Config, LlmConfig, OtherLlm
from voice.engines import EngineError, Llm, Setup, find
from voice.engines.fallback import Fallback
from voice.engines.metered import MeteredAsr, MeteredLlm, MeteredTts
from voice.engines.quick import Quick
from voice.engines.workers import Workers
from voice.events import Priority
from voice.models import Store

WAITING = 256
"""Calls that may wait on one lane: several for each of the callers a machine can hold."""


def open_engine(
    slot: str, config: Config, store: Store, lane: Lane, tap: Tap = SILENT
) -> AbstractAsyncContextManager[Any]:
    """The engine that a slot ("vad", "endpoint", "asr", "llm", "tts") is configured to use; entering loads it.

    Raises:
        EngineError: no such engine.
        ModelError: its model is not in the store.
    """
    setup = Setup(config=config, model=store.folder, lane=lane, tap=tap)
    return _llm(setup) if slot == "llm" else find(slot, getattr(config, slot).engine)(setup)


@asynccontextmanager
async def _llm(setup: Setup) -> AsyncIterator[Llm]:
    """The configured language model, its servers, its fallback and its quick one as one engine."""
    config = setup.config.llm
    if config.workers and config.engine == "llama":
        raise EngineError('llm.workers: the embedded engine has none; set llm.engine = "sglang" or "openai"')
    urls = [config.url, *config.workers]
    servers = [_one(setup, replace(config, url=url)) for url in urls]
    fallback, quick = _other(setup, "fallback"), _other(setup, "quick")
    async with aclosing(AsyncExitStack()) as opened:  # not told of errors: the tasks would put them into a group
        llms = [await opened.enter_async_context(server) for server in servers]
        second = await opened.enter_async_context(fallback) if fallback else None
        small = await opened.enter_async_context(quick) if quick else None
        tasks = await opened.enter_async_context(anyio.create_task_group())
        opened.callback(tasks.cancel_scope.cancel)
        llm = llms[0]
        if config.workers:
            llm = workers = Workers(llms, urls, config, setup.tap)
            tasks.start_soon(workers.watch)
        if second:
            llm = Fallback(llm, second, setup.tap)
        yield Quick(llm, small, tasks) if small else llm


def _other(setup: Setup, name: str) -> AbstractAsyncContextManager[Llm] | None:
    config = setup.config.llm
    other: OtherLlm = getattr(config, name)
    try:
        return _one(setup, config.other(other)) if other.engine else None
    except EngineError as error:
        raise EngineError(f"[llm.{name}], written like [llm]: {error}") from error


def _one(setup: Setup, config: LlmConfig) -> AbstractAsyncContextManager[Llm]:
    engine: AbstractAsyncContextManager[Llm] = find("llm", config.engine)(
        dataclasses.replace(setup, config=replace(setup.config, llm=config))
    )
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
