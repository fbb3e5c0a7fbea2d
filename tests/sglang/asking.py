"""What tests ask of a language model, and of an SGLang server about itself."""

from pathlib import Path
from uuid import uuid4

import anyio
import httpx

from streams.lane import Lane
from tests.taps import Awaited
from voice.config import Config, LlmConfig
from voice.engines import Llm, Setup
from voice.engines.sglang import SglangLlm
from voice.events import LlmEvent, Message, Priority, Prompt, TextDelta, Usage

LONG = Prompt((Message("user", "Write a very long story about a sailor, with many chapters."),), max_tokens=1500)

ASK_AGAIN = 0.02
"""Seconds."""


async def ask(llm: Llm, prompt: Prompt, priority: Priority = Priority.FINAL, request: str = "") -> list[LlmEvent]:
    """All events of an answer."""
    async with llm.stream(prompt, request=request or uuid4().hex, priority=priority) as events:
        return [event async for event in events]


async def answer(llm: Llm, prompt: Prompt, priority: Priority = Priority.FINAL) -> tuple[str, Usage]:
    """The text of an answer, and its usage."""
    *events, usage = await ask(llm, prompt, priority)
    assert isinstance(usage, Usage)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), usage


async def figure(http: httpx.AsyncClient, name: str) -> float:
    """One of the server's metrics, all labels together."""
    lines = (await http.get("/metrics")).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"sglang:{name}{{"))


async def until_at_work(http: httpx.AsyncClient, requests: int) -> None:
    """Wait until the server runs, or holds back, so many requests.

    It says so when a prompt was read, each fifteen steps, and when it falls idle. Asking without a pause would take the
    processor that it computes on.
    """
    with anyio.fail_after(60):
        while True:
            [load] = (await http.get("/v1/loads")).json()["loads"]
            if load["num_running_reqs"] + load["num_waiting_reqs"] == requests:
                return
            await anyio.sleep(ASK_AGAIN)


def engine(url: str, tap: Awaited, **settings: object) -> SglangLlm:
    """An engine that is patient with a slow machine."""
    defaults = {"engine": "sglang", "url": url, "context": 1, "first_token_seconds": 60, "stall_seconds": 60}
    config = LlmConfig(**(defaults | settings))  # type: ignore[arg-type]

    def model(name: str) -> Path:
        raise AssertionError(name)

    return SglangLlm(Setup(Config(llm=config), model, Lane("llm", 1, 1), tap))
