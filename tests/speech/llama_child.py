"""The embedded language model's process, and questions to it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import anyio
import psutil
import pytest

from streams.lane import Lane
from streams.tap import SILENT
from voice.config import Config, LlmConfig, ModelsConfig
from voice.engines import Setup
from voice.engines.llama import LlamaLlm
from voice.events import LlmEvent, Message, Priority, Prompt, TextDelta, ToolCall, Usage
from voice.models import ModelError, Store

MODEL = "smollm2-135m"
SYSTEM = Message("system", "You are a friendly voice assistant. Answer in one short sentence.")


def setup(folder: Path) -> Setup:
    config = LlmConfig(model=MODEL, slots=2, context=1024, threads=1, first_token_seconds=60, stall_seconds=60)
    return Setup(Config(llm=config), lambda name: folder, Lane("llm", 1, 1), SILENT)


@pytest.fixture(scope="module")
def llama_weights() -> Path:
    try:
        return Store(ModelsConfig(dir=os.environ.get("REJOINDER__MODELS__DIR", ""))).folder(MODEL)
    except ModelError as error:
        pytest.skip(str(error))


async def ask(llm: LlamaLlm, prompt: Prompt) -> tuple[str, list[ToolCall], Usage]:
    text, calls, last = "", [], None
    async with llm.stream(prompt, request=uuid4().hex, priority=Priority.FINAL) as events:
        async for event in events:
            assert last is None
            match event:
                case TextDelta(piece):
                    text += piece
                case ToolCall():
                    calls.append(event)
                case Usage():
                    last = event
    assert last is not None
    return text, calls, last


def said(text: str) -> Prompt:
    return Prompt((SYSTEM, Message("user", text)), max_tokens=40)


def long() -> Prompt:
    return Prompt((Message("user", "Count from one to one thousand."),), max_tokens=900, temperature=1.0)


def servers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "llama_server.py" in " ".join(child.cmdline())]


async def first_delta(events: AsyncIterator[LlmEvent]) -> None:
    assert isinstance(await anext(events), TextDelta)


async def busy(llm: LlamaLlm) -> bool:
    """Whether any slot is at work, as the process itself says."""
    assert llm._running is not None
    while (working := await llm._running.slots.look()) is None:
        await anyio.lowlevel.checkpoint()
    return bool(working)


async def until_idle(llm: LlamaLlm) -> None:
    while await busy(llm):
        await anyio.lowlevel.checkpoint()
