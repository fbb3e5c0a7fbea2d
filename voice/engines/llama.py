"""The embedded language model: llama.cpp in a child process that is watched and restarted."""

import json
import logging
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import PIPE
from typing import Self

import anyio
import httpx
import msgspec
from anyio import to_thread
from anyio.abc import Process, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from voice.engines import EngineError, Setup
from voice.engines.chat import ChatClient, noting_end, read_out
from voice.engines.slots import Slots
from voice.engines.weights import quick
from voice.engines.written_calls import forced, with_written_calls
from voice.events import LlmEvent, Message, Priority, Prompt, Usage
from voice.models import llm_model, machine

log = logging.getLogger(__name__)

TITLE = "the embedded language model"
REMEDY = "it is restarting, try again in a moment"
START_SECONDS = 120.0
MOST_THREADS = 8
"""Unless the configuration says otherwise; small models gain nothing from more."""
REPORT_BYTES = 64 * 1024
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds between a death and the next start; doubles with every death until the model has worked again."""
EXTRA: dict[str, object] = {
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.05,
    "repeat_penalty": 1.1,
    "return_progress": True,
}
"""Small models go round in circles over a conversation without the penalty; and llama-server notices that a caller
has left while the prompt is computed only if it has progress to report."""
LOOK_SECONDS = 1.0


class _Slot(msgspec.Struct):
    id: int
    is_processing: bool


@dataclass
class _Running:
    """One life of the process."""

    client: ChatClient
    slots: Slots

    @asynccontextmanager
    async def stream(
        self, prompt: Prompt, extra: dict[str, object], seconds: float
    ) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        """In the slot that holds most of the prompt; left before its end, it is watched until it has stopped."""
        lease = await self.slots.take(prompt, seconds)
        try:
            async with (
                self.client.stream(prompt, EXTRA | extra | {"id_slot": lease.slot}) as events,
                aclosing(noting_end(events, lease)) as noted,
            ):
                yield noted
        finally:
            self.slots.give_back(lease)


class LlamaLlm:
    """The engine "llama". Its process holds `llm.slots` conversations of `llm.context` tokens in its prompt caches."""

    name = "llama"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._config = setup.config.llm
        self.context = self._config.context
        self._running: _Running | None = None
        self._tasks = anyio.create_task_group()
        self._answers = 0
        self._calm = anyio.Event()
        self._prefills: set[anyio.CancelScope] = set()

    async def __aenter__(self) -> Self:
        """Start the process; raises EngineError where it cannot load the model, ModelError where that is missing."""
        file = await to_thread.run_sync(quick, self._file())
        await self._tasks.__aenter__()
        try:
            await self._tasks.start(self._keep_alive, file)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    @asynccontextmanager
    async def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        """See `Llm.stream`; the process serves callers in the order they come."""
        demand = forced(prompt)
        bare, extra = demand or (prompt, {})
        self._answers += 1
        for scope in self._prefills:
            scope.cancel()
        try:
            async with (
                self._process().stream(bare, extra, self._config.first_token_seconds) as events,
                aclosing(with_written_calls(events, prompt, must=demand is not None)) as called,
            ):
                yield called
        finally:
            self._answers -= 1
            if not self._answers:
                self._calm.set()
                self._calm = anyio.Event()

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        """See `Llm.prefill`. It runs while nobody is being answered; what it has read when it has to stop is kept."""
        bare, _ = forced(prompt) or (prompt, {})
        while True:
            while self._answers:
                await self._calm.wait()
            with anyio.CancelScope() as scope:
                self._prefills.add(scope)
                try:
                    async with self._process().stream(
                        replace(bare, max_tokens=0), {}, self._config.first_token_seconds
                    ) as events:
                        return await read_out(events)
                finally:
                    self._prefills.discard(scope)

    def _process(self) -> _Running:
        if self._running is None:
            raise EngineError(f"{TITLE} is not there; {REMEDY}")
        return self._running

    def _file(self) -> Path:
        name = llm_model(self._config)
        folder = self._setup.model(name)
        match sorted(folder.glob("*.gguf")):
            case [file]:
                return file
            case files:
                raise EngineError(f'llm.model = "{name}": {len(files)} GGUF files in {folder} where one is needed')

    async def _keep_alive(self, file: Path, *, task_status: TaskStatus[None]) -> None:
        pause, started = FIRST_PAUSE, False
        while True:
            try:
                async with await _spawn() as process, await self._connect(process, file) as client:
                    await self._warm_up(client)
                    pause = FIRST_PAUSE
                    if not started:
                        started = True
                        task_status.started()
                    await self._serve(process, client)
                    log.warning("the embedded language model died; it is restarted")
            except EngineError as error:
                if not started:
                    raise
                log.warning("the embedded language model did not start again", extra={"reason": str(error)})
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _serve(self, process: Process, client: ChatClient) -> None:
        """Until the process dies."""

        async def look() -> set[int] | None:
            try:
                with anyio.fail_after(LOOK_SECONDS):
                    response = await client.http.get("/slots")
                slots = msgspec.json.decode(response.content, type=list[_Slot])
                return {slot.id for slot in slots if slot.is_processing}
            except (httpx.HTTPError, TimeoutError, msgspec.DecodeError):
                return None

        def kill() -> None:
            with suppress(ProcessLookupError):
                process.kill()

        slots = Slots(self._config.slots, look, self._setup.tap, self.name)
        self._running = _Running(client, slots)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(slots.watch, kill)
                await process.wait()
                tasks.cancel_scope.cancel()
        finally:
            self._running = None
            slots.close()

    async def _connect(self, process: Process, file: Path) -> ChatClient:
        key = secrets.token_urlsafe(24)
        order = {
            "path": str(file),
            "key": key,
            "context": self._config.context,
            "slots": self._config.slots,
            "threads": self._config.threads or min(MOST_THREADS, max(1, machine()[0] - 1)),
        }
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with anyio.fail_after(START_SECONDS):
                await process.stdin.send(json.dumps(order).encode() + b"\n")
                line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", REPORT_BYTES)
        except TimeoutError as error:
            raise EngineError(f"{TITLE} was not ready after {START_SECONDS:g} s; choose a smaller llm.model") from error
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError) as error:
            raise EngineError(f"{TITLE} died while loading {file.name}; is there memory enough?") from error
        report = json.loads(line)
        if "url" not in report:
            raise EngineError(f"{TITLE} cannot load {file.name} ({report.get('error')}); fetch the model again")
        return ChatClient(TITLE, report["url"], key, self._config, remedy=REMEDY, child=True)

    async def _warm_up(self, client: ChatClient) -> None:
        """Touch all weights, and put the instructions that calls begin with into the prompt cache."""
        messages = (Message("system", self._config.instructions), Message("user", "Hello"))
        async with client.stream(Prompt(messages, max_tokens=1), {"id_slot": 0}) as events:
            await read_out(events)


async def _spawn() -> Process:
    server = Path(__file__).with_name("llama_server.py")
    return await anyio.open_process([sys.executable, "-P", str(server)], stdin=PIPE, stdout=PIPE, stderr=None)
