"""Quick answers: a small model says the first clause while the large one reads the prompt, and goes on from there."""

import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from voice.chunker import Chunker
from voice.engines import EngineError, Llm
from voice.events import LlmEvent, Priority, Prompt, TextDelta, Usage

log = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds the large model may go on reading while the clause is spoken, before it is asked all the same."""


class Quick:
    """A large and a small engine as one `Llm`.

    Used where there are no tools, for only the large one may decide to call, and dropped where the large one has read
    the prompt first: then its own words come as soon. What was said is the beginning of the large one's answer
    (`Prompt.opening`); where that fails, the answer breaks off after the clause.
    """

    def __init__(self, large: Llm, small: Llm, tasks: TaskGroup) -> None:
        """The large one reads in `tasks`, which end before it is closed."""
        self.name = large.name
        self._large = large
        self._small = small
        self._tasks = tasks

    @property
    def context(self) -> int:
        """The large one's; the small one is left out where a prompt is too long for it."""
        return self._large.context

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        """See `Llm.prefill`; the small one needs none."""
        return await self._large.prefill(prompt, request=request)

    def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AbstractAsyncContextManager[AsyncIterator[LlmEvent]]:
        """See `Llm.stream`."""
        if prompt.tools or prompt.opening:
            return self._large.stream(prompt, request=request, priority=priority)
        return aclosing(self._answer(prompt, request, priority))

    async def _answer(self, prompt: Prompt, request: str, priority: Priority) -> AsyncGenerator[LlmEvent, None]:
        reading = _Reading()
        self._tasks.start_soon(self._read, prompt, reading)
        try:
            opening = await self._clause(prompt, reading, priority)
            if opening:
                yield TextDelta(f"{opening} ")  # the space ends the clause's last word, so that it is spoken at once
            with anyio.move_on_after(PATIENCE):
                await reading.over.wait()
            reading.scope.cancel()
            rest = replace(prompt, opening=opening)
            async with self._large.stream(rest, request=request, priority=priority) as events:
                async for event in events:
                    if opening and isinstance(event, TextDelta):
                        event = TextDelta(event.text.lstrip())
                        opening = "" if event.text else opening
                    yield event
        finally:
            reading.scope.cancel()

    async def _read(self, prompt: Prompt, reading: "_Reading") -> None:
        """Have the large model read the prompt."""
        with reading.scope:
            try:
                usage = await self._large.prefill(prompt, request=secrets.token_hex(16))
                if usage.prompt:
                    reading.small.cancel()
            except EngineError as error:
                log.debug("the large model could not read ahead", extra={"reason": str(error)})
        reading.over.set()

    async def _clause(self, prompt: Prompt, reading: "_Reading", priority: Priority) -> str:
        """The small model's first clause; empty where the large one is ready first, or the small one fails."""
        chunker = Chunker()
        with reading.small:
            try:
                async with self._small.stream(prompt, request=secrets.token_hex(16), priority=priority) as events:
                    async for event in events:
                        if isinstance(event, TextDelta) and (clauses := chunker.push(event.text)):
                            return clauses[0]
                return next(iter(chunker.finish()), "")
            except EngineError as error:
                log.warning("the quick model failed", extra={"reason": str(error)})
        return ""


class _Reading:
    """The large model reads: `over` when it has, for better or worse; the small one is heard in `small` meanwhile."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.small = anyio.CancelScope()
        self.over = anyio.Event()
