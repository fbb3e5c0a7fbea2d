"""The embedded language model: llama.cpp in a child process that is watched and restarted."""

import json
import logging
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Self

import anyio
from anyio.abc import Process, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from voice.engines import EngineError, Setup
from voice.engines.chat import ChatClient
from voice.engines.written_calls import forced, with_written_calls
from voice.events import LlmEvent, Message, Priority, Prompt
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


class LlamaLlm:
    """The engine "llama". Its process holds `llm.slots` conversations of `llm.context` tokens in its prompt caches."""

    name = "llama"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._config = setup.config.llm
        self.context = self._config.context
        self._client: ChatClient | None = None
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> Self:
        """Start the process; raises EngineError where it cannot load the model, ModelError where that is missing."""
        file = self._file()
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
        if self._client is None:
            raise EngineError(f"{TITLE} is not there; {REMEDY}")
        demand = forced(prompt)
        bare, extra = demand or (prompt, {})
        async with (
            self._client.stream(bare, EXTRA | extra) as events,
            aclosing(with_written_calls(events, prompt, must=demand is not None)) as called,
        ):
            yield called

    def _file(self) -> Path:
        name = llm_model(self._setup.config)
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
                    self._client, pause = client, FIRST_PAUSE
                    if not started:
                        started = True
                        task_status.started()
                    await process.wait()
                    log.warning("the embedded language model died; it is restarted")
            except EngineError as error:
                if not started:
                    raise
                log.warning("the embedded language model did not start again", extra={"reason": str(error)})
            finally:
                self._client = None
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

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
        return ChatClient(TITLE, report["url"], key, self._config, remedy=REMEDY, proxies=False)

    async def _warm_up(self, client: ChatClient) -> None:
        """Touch all weights, and put the instructions that calls begin with into the prompt cache."""
        messages = (Message("system", self._config.instructions), Message("user", "Hello"))
        async with client.stream(Prompt(messages, max_tokens=1), {}) as events:
            async for _ in events:
                pass


async def _spawn() -> Process:
    server = Path(__file__).with_name("llama_server.py")
    return await anyio.open_process([sys.executable, "-P", str(server)], stdin=PIPE, stdout=PIPE, stderr=None)
