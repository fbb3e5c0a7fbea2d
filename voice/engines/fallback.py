"""Another language model that answers while the first cannot."""

import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing

from anyio import current_time

from streams.tap import Tap
from voice.engines import EngineError, Llm, Unfit
from voice.engines.breaker import Breaker
from voice.events import LlmEvent, Priority, Prompt, Usage

log = logging.getLogger(__name__)

TURNED = 64
"""Requests that are remembered as turned away by the primary."""


class Fallback:
    """Two engines as one `Llm`: what the primary fails at before the first token, the fallback answers.

    After some failures the primary is left alone for a while, and then tried with one request. A request that is itself
    at fault (`Unfit`) is nobody's failure, and goes to nobody else. The fallback's context may be smaller: one that it
    refuses as too long comes again, shortened, and is not held up by the primary a second time.
    """

    def __init__(self, primary: Llm, fallback: Llm, tap: Tap) -> None:
        self.name = primary.name
        self._primary = primary
        self._fallback = fallback
        self._tap = tap
        self._breaker = Breaker()
        self._turned = deque[str](maxlen=TURNED)
        self._closed = True

    @property
    def context(self) -> int:
        """That of the engine which will answer."""
        return self._primary.context if self._breaker.closed else self._fallback.context

    def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AbstractAsyncContextManager[AsyncIterator[LlmEvent]]:
        """See `Llm.stream`."""
        return aclosing(self._answer(prompt, request, priority))

    async def _answer(self, prompt: Prompt, request: str, priority: Priority) -> AsyncGenerator[LlmEvent, None]:
        if request not in self._turned:
            ticket = self._breaker.admit(current_time())
            if ticket is not None:
                begun = False
                try:
                    async with self._primary.stream(prompt, request=request, priority=priority) as events:
                        async for event in events:
                            if not begun:
                                begun = True
                                self._breaker.succeeded(ticket)
                                self._notice()
                            yield event
                    return
                except Unfit:
                    raise
                except EngineError as error:
                    self._failed(ticket, error)
                    if begun:
                        raise
                finally:
                    self._breaker.left(ticket)
            self._turned.append(request)
            self._tap.count("llm_fallbacks_total", reason="open" if ticket is None else "failed")
        async with self._fallback.stream(prompt, request=request, priority=priority) as events:
            async for event in events:
                yield event

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        """See `Llm.prefill`: by the engine that will answer. Nobody waits for it: a good trial of the primary."""
        ticket = self._breaker.admit(current_time())
        if ticket is None:
            return await self._fallback.prefill(prompt, request=request)
        try:
            usage = await self._primary.prefill(prompt, request=request)
            if usage.prompt:
                self._breaker.succeeded(ticket)
                self._notice()
            return usage
        except Unfit:
            raise
        except EngineError as error:
            self._failed(ticket, error)
            raise
        finally:
            self._breaker.left(ticket)

    def _failed(self, ticket: int, error: EngineError) -> None:
        self._breaker.failed(ticket, current_time())
        self._notice(str(error))

    def _notice(self, reason: str = "") -> None:
        """Say when the breaker opens or closes."""
        if self._breaker.closed == self._closed:
            return
        self._closed = self._breaker.closed
        if self._closed:
            log.warning("the language model answers again")
        else:
            log.warning("the language model fails; its fallback answers", extra={"reason": reason})
