"""Two real servers: behind a router, and as a list; and what becomes of conversations when one of them dies."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import anyio
import httpx
import msgspec
import pytest

from streams.metrics import Prometheus
from tests.live import CONFIG, Caller, Live, Place
from tests.sglang.asking import LONG, answer, ask, engine, figure, until_at_work
from tests.sglang.servers import Installation, Process, Tell, stopped_at_the_end
from tests.taps import Awaited
from voice.config import LimitsConfig
from voice.engines import EngineError
from voice.engines.chat import read_out
from voice.engines.sglang import SglangLlm
from voice.events import Message, Priority, Prompt
from voice.models import Store, needed
from voice.service import open_engines

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("server"),
    pytest.mark.parametrize("server", ["plain"], indirect=True),
]

CALLERS = 20


@pytest.fixture(scope="module")
def second(servers: dict[str, Process]) -> Process:
    """Serves the same model; that it decodes in another way is its own affair."""
    return servers["ngram"].start()


@pytest.fixture(scope="module")
def router(server: str, second: Process, installation: Installation) -> Iterator[Process]:
    router = installation.router(server, second.url)
    with stopped_at_the_end([router]):
        yield router.start()


@pytest.fixture
async def routed(router: Process, tap: Awaited) -> AsyncIterator[SglangLlm]:
    async with engine(router.url, tap) as llm:
        yield llm


@pytest.fixture
async def other(second: Process) -> AsyncIterator[httpx.AsyncClient]:
    """The second server itself."""
    async with httpx.AsyncClient(base_url=second.url, trust_env=False, timeout=60) as client:
        yield client


async def test_a_router_keeps_a_conversation_where_it_is_cached(
    routed: SglangLlm, http: httpx.AsyncClient, other: httpx.AsyncClient, tell: Tell
) -> None:
    prompts, cached = 0, 0

    async def converse(number: int) -> None:
        nonlocal prompts, cached
        messages = [Message("system", f"{uuid4().hex} You are number {number}. " + "Be short, plain and kind. " * 8)]
        known = 0
        for text in ("Hello, who are you?", "Where do you live?", "What do you like?"):
            messages.append(Message("user", text))
            said, usage = await answer(routed, Prompt(tuple(messages), max_tokens=8, temperature=0))
            messages.append(Message("assistant", said))
            assert usage.cached >= known - 1
            if known:
                prompts, cached = prompts + usage.prompt, cached + usage.cached
            known = usage.prompt

    before = [await figure(client, "prompt_tokens_total") for client in (http, other)]
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(converse, number)
    read = [await figure(client, "prompt_tokens_total") for client in (http, other)]
    shares = [after - earlier for after, earlier in zip(read, before, strict=True)]
    tell(f"behind the router: second and third turns {cached / prompts:.0%} cached; prompt tokens by server {shares}")
    assert all(shares)


async def test_leaving_through_a_router_closes_the_connection_and_stops_the_servers(
    routed: SglangLlm, router: Process, http: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    generated = [await figure(client, "generation_tokens_total") for client in (http, other)]
    async with httpx.AsyncClient(base_url=router.url, trust_env=False) as client:
        aborted = await client.post("/abort_request", json={"rid": uuid4().hex})
    assert aborted.status_code == 404  # were it known, we would use it

    async def leave() -> None:
        async with routed.stream(LONG, request=uuid4().hex, priority=Priority.SPECULATIVE) as events:
            await anext(events)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(leave)
    for client, before in zip((http, other), generated, strict=True):
        await until_at_work(client, 0)
        assert await figure(client, "generation_tokens_total") - before < LONG.max_tokens


async def test_a_server_is_killed_in_the_middle_of_an_answer_and_comes_back(
    second: Process, tap: Awaited, tell: Tell
) -> None:
    hello = Prompt((Message("user", "Hello"),), max_tokens=2)
    async with engine(second.url, tap) as llm:
        async with llm.stream(LONG, request=uuid4().hex, priority=Priority.FINAL) as events:
            await anext(events)
            second.stop()
            with pytest.raises(EngineError, match="broke off in the middle of the answer; try again"):
                await read_out(events)
        with pytest.raises(EngineError, match="cannot be reached"):
            await ask(llm, hello)
        tell("starting the second server again")
        second.start()
        assert await ask(llm, hello)


async def test_one_of_two_servers_dies_in_the_middle_of_twenty_conversations(
    server: str, second: Process, tell: Tell, model_folder: Callable[[str], Path]
) -> None:
    llm = msgspec.structs.replace(CONFIG.llm, engine="sglang", url=server, workers=(second.url,), model="auto")
    config = msgspec.structs.replace(CONFIG, llm=llm)
    for name in needed(config):
        model_folder(name)
    metrics = Prometheus()
    greeted, talking = [anyio.Event() for _ in range(CALLERS)], anyio.Semaphore(0)
    lost: list[str] = []

    async def converse(caller: Caller, number: int) -> None:
        instructions = f"You are number {number}. Answer in two sentences."
        await caller.update(instructions=instructions, output_modalities=["text"])
        assert (await caller.ask("Who are you?", max_output_tokens=8)).text
        greeted[number].set()
        for event in greeted:
            await event.wait()
        await caller.send(caller.client.create_item("Tell me a story."), caller.client.respond(max_output_tokens=60))
        await caller.until(lambda: len(caller.replies) > 1 and caller.replies[1].text)
        talking.release()
        await caller.until(lambda: caller.replies[1].status != "in_progress")
        if caller.replies[1].status == "failed":
            lost.append(caller.replies[1].error)
        last = await caller.ask("Thank you. And now?", max_output_tokens=8)
        assert last.status in ("completed", "incomplete"), last.error
        assert last.text

    async with (
        open_engines(config, Store(config.models), metrics) as engines,
        Live(engines, metrics).serving(llm=llm, limits=LimitsConfig(sessions=CALLERS)) as place,
        anyio.create_task_group() as tasks,
    ):
        for number in range(CALLERS):
            tasks.start_soon(call, place, converse, number)
        for _ in range(3 * CALLERS // 4):  # so some of them with the second server, be it the slower
            await talking.acquire()
        second.stop()
    tell(f"one of two servers died in the middle of {CALLERS} turns: {len(lost)} were lost, no conversation ended")
    assert 0 < len(lost) < CALLERS
    assert all("try again" in error for error in lost), lost


async def call(place: Place, converse: Callable[[Caller, int], Awaitable[None]], number: int) -> None:
    async with place.call() as caller:
        await converse(caller, number)
