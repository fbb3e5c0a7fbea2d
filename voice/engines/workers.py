"""Several servers with the same model behind one engine: each conversation where its prompt is cached."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager

import anyio
import httpx
import msgspec
from anyio import current_time

from streams.tap import Tap
from voice.config import LlmConfig
from voice.engines import EngineError, Llm, Unfit
from voice.engines.breaker import Breaker, Ticket
from voice.engines.chat import ChatClient
from voice.engines.prefixes import Texts, texts
from voice.engines.roster import Roster
from voice.events import LlmEvent, Priority, Prompt, Usage

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""From one look at a server to the next."""
TITLE = "a language model server"


class _Load(msgspec.Struct):
    num_running_reqs: int = 0
    num_waiting_reqs: int = 0


class _Loads(msgspec.Struct):
    loads: list[_Load] = []


class Workers:
    """Several servers as one `Llm`.

    A server that cannot be reached, or is not ready twice in a row, is set aside until it is; so is one at which a
    request failed, for a while. A request that fails before its first token begins anew on another server, a later one
    fails. All of them serve the same model: the largest context that any of them tells counts.
    """

    def __init__(self, llms: Sequence[Llm], urls: Sequence[str], config: LlmConfig, tap: Tap) -> None:
        """`llms` are engines for one server each, at `urls`, all taken to be well until `watch` runs."""
        self.name = llms[0].name
        self._llms = llms
        self._urls = urls
        self._config = config
        self._tap = tap
        self._roster = Roster(len(llms))
        self._tells_load = [True] * len(llms)

    @property
    def context(self) -> int:
        """See `Llm.context`."""
        return max(llm.context for llm in self._llms)

    async def watch(self) -> None:
        """Look at the servers until cancelled."""
        self._tap.level("llm_workers", len(self._llms))
        async with anyio.create_task_group() as tasks:
            for number in range(len(self._llms)):
                tasks.start_soon(self._watch, number)

    def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AbstractAsyncContextManager[AsyncIterator[LlmEvent]]:
        """See `Llm.stream`."""
        return aclosing(self._answer(prompt, request, priority))

    async def _answer(self, prompt: Prompt, request: str, priority: Priority) -> AsyncGenerator[LlmEvent, None]:
        wanted, tried, begun = texts(prompt), set[int](), False
        number = self._roster.choose(wanted, current_time())
        while number is not None:
            tried.add(number)
            try:
                with self._at(number, wanted) as visit:
                    async with self._llms[number].stream(prompt, request=request, priority=priority) as events:
                        async for event in events:
                            if not begun:
                                begun = True
                                visit.succeeded()
                            yield event
                return
            except Unfit:
                raise
            except EngineError as error:
                number = None if begun else self._roster.choose(wanted, current_time(), tried)
                if number is None:
                    raise
                self._tap.count("llm_failovers_total")
                log.warning("an answer begins anew on another server", extra={"reason": str(error)})

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        """See `Llm.prefill`: where the answer will be asked for, or not at all."""
        wanted = texts(prompt)
        number = self._roster.choose(wanted, current_time())
        assert number is not None
        with self._at(number, wanted) as visit:
            usage = await self._llms[number].prefill(prompt, request=request)
            if usage.prompt:
                visit.succeeded()
        return usage

    @contextmanager
    def _at(self, number: int, wanted: Texts) -> Iterator["_Visit"]:
        """One request at one server, accounted for."""
        breaker = self._roster.workers[number].breaker
        ticket = self._roster.begin(number, wanted, current_time())
        try:
            yield _Visit(breaker, ticket)
        except Unfit:
            raise
        except EngineError as error:
            breaker.failed(ticket, current_time())
            log.warning("a language model server failed", extra={"url": self._urls[number], "reason": str(error)})
            raise
        finally:
            breaker.left(ticket)
            self._roster.end(number)

    async def _watch(self, number: int) -> None:
        url = self._urls[number]
        async with ChatClient(TITLE, url, self._config.key, self._config) as client:
            while True:
                try:
                    with anyio.fail_after(self._config.connect_seconds):
                        well, requests = await self._look(number, client.http)
                except (httpx.HTTPError, TimeoutError):
                    well, requests = False, 0
                worker = self._roster.workers[number]
                was_gone = worker.gone
                self._roster.looked(number, well=well, requests=requests)
                if worker.gone != was_gone:
                    self._tap.level("llm_workers", sum(not other.gone for other in self._roster.workers))
                    log.warning("a language model server is %s", "back" if well else "gone", extra={"url": url})
                await anyio.sleep(LOOK_SECONDS)

    async def _look(self, number: int, http: httpx.AsyncClient) -> tuple[bool, int]:
        """Whether a server is ready, and how many requests it works on, as far as it says."""
        response = await http.get("/ready")
        if response.status_code == httpx.codes.NOT_FOUND:
            response = await http.get("/v1/models")
        if response.status_code != httpx.codes.OK:
            return False, 0
        if not self._tells_load[number]:
            return True, 0
        response = await http.get("/v1/loads", params={"include": "core"})
        try:
            loads = msgspec.json.decode(response.content, type=_Loads).loads if response.is_success else []
        except msgspec.DecodeError:
            loads = []
        self._tells_load[number] = response.is_success
        return True, sum(load.num_running_reqs + load.num_waiting_reqs for load in loads)


class _Visit:
    """What a request tells of its server."""

    def __init__(self, breaker: Breaker, ticket: Ticket) -> None:
        self._breaker = breaker
        self._ticket = ticket

    def succeeded(self) -> None:
        self._breaker.succeeded(self._ticket)
