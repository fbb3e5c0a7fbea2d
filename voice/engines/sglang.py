"""Answers from an SGLang server (HTTP API of SGLang 0.5), each under a request id of ours that can be aborted."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Self

import anyio
import httpx
from anyio import current_time
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from voice.engines import EngineError, Setup
from voice.engines.chat import GO_ON, PLAINLY, RemoteModel, noting_end, read_out
from voice.engines.chat_wire import nested
from voice.engines.written_calls import demanded, with_written_calls
from voice.events import LlmEvent, Priority, Prompt, Usage

log = logging.getLogger(__name__)

ABORT_SECONDS = 1.0
FIRST_PATIENCE, PATIENCE = 0.05, 1.0
"""Seconds from one abort to the next, doubling: one that overtakes its request finds nothing to abort."""
LEAK_SECONDS = 2.0
STUCK_SECONDS = 10.0
AHEAD = 64
"""Events of an answer that may wait for whoever reads it."""
LIVE, SPECULATIVE, PREFILL, BATCH = 100, 50, 25, 0
"""SGLang lets a request overtake a running one where their priorities differ by more than 10."""

Item = LlmEvent | EngineError


@dataclass
class _Request:
    """One request to the server.

    Attributes:
        name: our id of it.
        ended: its whole answer was taken.
        over: the server has ended its response, which it does when the request has left its scheduler.
        connection: cancelling it closes the connection.
    """

    name: str
    ended: bool = False
    over: anyio.Event = field(default_factory=anyio.Event)
    connection: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class SglangLlm:
    """The engine "sglang". Priorities count with `--enable-priority-scheduling`; else the server ignores them."""

    name = "sglang"

    def __init__(self, setup: Setup) -> None:
        self._remote = RemoteModel("the SGLang server", setup.config.llm)
        self._tap = setup.tap
        self._tasks = anyio.create_task_group()

    @property
    def context(self) -> int:
        """Tokens, as the server says or else as configured."""
        return self._remote.context

    async def __aenter__(self) -> Self:
        await self._remote.__aenter__()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._tasks.cancel_scope.deadline = current_time() + ABORT_SECONDS
        await self._tasks.__aexit__(None, None, None)
        await self._remote.__aexit__(*exc)

    @asynccontextmanager
    async def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        """See `Llm.stream`. Left early, `request` is aborted by name, and its response read until the server ends it.

        The end of the response is the scheduler's own word that the request has stopped; the server's gauges lag, and
        count what others ask of it. Closing the connection alone leaves some requests running (sglang issues 36333,
        36876, 37833), so that is the last resort. An abort matches by prefix, hence the fixed length of `request`.
        """
        async with (
            self._asked(prompt, request, _rank(priority)) as events,
            aclosing(with_written_calls(events, prompt, must=demanded(prompt))) as called,
        ):
            yield called

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        """See `Llm.prefill`; answers overtake it."""
        async with self._asked(replace(prompt, max_tokens=0), request, PREFILL) as events:
            return await read_out(events)

    @asynccontextmanager
    async def _asked(self, prompt: Prompt, name: str, rank: int) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        request = _Request(name)
        send, receive = anyio.create_memory_object_stream[Item](AHEAD)
        self._tasks.start_soon(self._read, prompt, rank, request, send)
        try:
            with receive:
                async with aclosing(_taken(receive)) as events, aclosing(noting_end(events, request)) as noted:
                    yield noted
        finally:
            if not request.ended and not request.over.is_set():
                self._tasks.start_soon(self._stop, request)

    async def _read(self, prompt: Prompt, rank: int, request: _Request, send: MemoryObjectSendStream[Item]) -> None:
        """Read the response to its end, whether or not somebody still takes its events."""
        strict = replace(prompt, tools=tuple(_strict(tool) for tool in prompt.tools))
        extra = {"rid": request.name, "priority": rank, "return_spec_tokens_details": True, **PLAINLY}
        if prompt.opening:
            extra |= GO_ON
        if prompt.tools and prompt.tool_choice not in ("auto", "none"):
            extra["parallel_tool_calls"] = False  # the grammar of several has no end; greedy models write on and on
        with send, request.connection:
            try:
                async with self._remote.stream(strict, extra) as events:
                    async for event in events:
                        with suppress(anyio.BrokenResourceError):
                            await send.send(event)
            except EngineError as error:
                with suppress(anyio.BrokenResourceError):
                    await send.send(error)
                await self._abort(request.name)
        request.over.set()

    async def _stop(self, request: _Request) -> None:
        """Abort until the server has ended the request's response; close the connection where it does not."""
        begun, patience, leaked = current_time(), FIRST_PATIENCE, False
        while await self._abort(request.name) and current_time() - begun < STUCK_SECONDS:
            with anyio.move_on_after(patience):
                await request.over.wait()
            seconds = current_time() - begun
            if request.over.is_set():
                self._tap.observe("cancel_to_idle_seconds", seconds, engine=self.name)
                return
            if seconds > LEAK_SECONDS and not leaked:
                leaked = True
                self._tap.count("llm_leaked_total", engine=self.name)
                log.warning("a cancelled request goes on", extra={"request": request.name})
            patience = min(2 * patience, PATIENCE)
        request.connection.cancel()

    async def _abort(self, name: str) -> bool:
        """Whether the server has taken the order; routers do not know it."""
        try:
            with anyio.fail_after(ABORT_SECONDS):
                response = await self._remote.client.http.post("/abort_request", json={"rid": name})
        except (httpx.HTTPError, TimeoutError):
            log.debug("an abort did not reach the server", exc_info=True)
            return False
        return response.status_code == httpx.codes.OK


async def _taken(receive: MemoryObjectReceiveStream[Item]) -> AsyncGenerator[LlmEvent, None]:
    async for item in receive:
        if isinstance(item, EngineError):
            raise item
        yield item


def _strict(tool: Mapping[str, object]) -> dict[str, object]:
    """The tool with its parameters enforced, which SGLang does with `--tool-call-parser` only where asked to."""
    function = nested(tool)["function"]
    return {"type": "function", "function": {"strict": True, **function} if isinstance(function, Mapping) else function}


def _rank(priority: Priority) -> int:
    if priority <= Priority.FINAL:
        return LIVE
    return SPECULATIVE if priority == Priority.SPECULATIVE else BATCH
