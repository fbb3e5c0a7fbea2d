"""Answers from an SGLang server (HTTP API of SGLang 0.5), each under a request id of ours that can be aborted."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Self

import anyio
import httpx

from voice.engines import Setup
from voice.engines.chat import RemoteModel
from voice.engines.chat_wire import nested
from voice.engines.written_calls import with_written_calls
from voice.events import LlmEvent, Priority, Prompt, Usage

log = logging.getLogger(__name__)

ABORT_SECONDS = 1.0
LIVE, SPECULATIVE, BATCH = 100, 50, 0
"""SGLang lets a request overtake a running one where their priorities differ by more than 10."""


class SglangLlm:
    """The engine "sglang". Priorities count with `--enable-priority-scheduling`; else the server ignores them."""

    name = "sglang"

    def __init__(self, setup: Setup) -> None:
        self._remote = RemoteModel("the SGLang server", setup.config.llm)
        self._aborts = anyio.create_task_group()

    @property
    def context(self) -> int:
        """Tokens, as the server says or else as configured."""
        return self._remote.context

    async def __aenter__(self) -> Self:
        await self._remote.__aenter__()
        await self._aborts.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._aborts.__aexit__(None, None, None)
        await self._remote.__aexit__(*exc)

    @asynccontextmanager
    async def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        """See `Llm.stream`. Leaving early closes the connection and aborts `request` by name.

        SGLang generates on after some disconnects (sglang issues 36333, 36876, 37833), hence the abort. It matches by
        prefix, hence the fixed length of `request`.
        """
        extra = {"rid": request, "priority": _rank(priority), "return_spec_tokens_details": True}
        strict = replace(prompt, tools=tuple(_strict(tool) for tool in prompt.tools))
        ended = False

        async def watched(events: AsyncIterator[LlmEvent]) -> AsyncGenerator[LlmEvent, None]:
            nonlocal ended
            async for event in events:
                ended = isinstance(event, Usage)
                yield event

        try:
            async with (
                self._remote.stream(strict, extra) as events,
                aclosing(with_written_calls(events, prompt, must=False)) as called,
                aclosing(watched(called)) as seen,
            ):
                yield seen
        finally:
            if not ended:
                self._aborts.start_soon(self._abort, request)

    async def _abort(self, request: str) -> None:
        try:
            with anyio.fail_after(ABORT_SECONDS):
                await self._remote.client.http.post("/abort_request", json={"rid": request})
        except (httpx.HTTPError, TimeoutError):
            log.debug("an abort did not reach the server", exc_info=True)


def _strict(tool: Mapping[str, object]) -> dict[str, object]:
    """The tool with its parameters enforced, which SGLang does with `--tool-call-parser` only where asked to."""
    function = nested(tool)["function"]
    return {"type": "function", "function": {"strict": True, **function} if isinstance(function, Mapping) else function}


def _rank(priority: Priority) -> int:
    if priority <= Priority.FINAL:
        return LIVE
    return SPECULATIVE if priority == Priority.SPECULATIVE else BATCH
