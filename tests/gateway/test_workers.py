"""Several language model servers behind one engine, over real sockets: who is asked, and what happens when one dies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream, TaskGroup, TaskStatus

from tests import chat_server as chat
from tests.taps import Awaited
from voice.engines import EngineError, Llm, Unfit, breaker, workers
from voice.engines.chat import ChatLlm
from voice.engines.sglang import SglangLlm
from voice.engines.workers import Workers
from voice.events import Message, Priority, Prompt, TextDelta, Usage

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LOOK_SECONDS", 0.01)


class Pair:
    """Two servers, either of which may die and come back."""

    def __init__(self, tasks: TaskGroup) -> None:
        self.servers = (chat.Server(), chat.Server())
        self.tap = Awaited()
        self._tasks = tasks
        self._lives = [anyio.CancelScope(), anyio.CancelScope()]
        self._deaths = [anyio.Event(), anyio.Event()]

    async def start(self, number: int) -> None:
        await self._tasks.start(self._live, number)

    async def _live(self, number: int, *, task_status: TaskStatus[None]) -> None:
        server = self.servers[number]
        port = int(server.url.rsplit(":", 1)[1]) if server.url else 0
        self._deaths[number] = anyio.Event()
        with anyio.CancelScope() as self._lives[number]:
            async with chat.running(server, port):
                task_status.started()
                await anyio.sleep_forever()
        self._deaths[number].set()

    async def die(self, number: int) -> None:
        self._lives[number].cancel()
        await self._deaths[number].wait()

    def asked(self, number: int) -> list[str]:
        """The newest message of each request at a server."""
        return [body["messages"][-1]["content"] for _, body in self.servers[number].chats]

    async def until(self, well: int) -> None:
        """Wait until so many servers are known to be well."""
        levels = await self.tap.until("llm_workers")
        while levels[-1] != well:
            levels = await self.tap.until("llm_workers", len(levels) + 1)


@asynccontextmanager
async def pair(
    kind: type[ChatLlm | SglangLlm] = ChatLlm, up: tuple[int, ...] = (0, 1)
) -> AsyncIterator[tuple[Pair, Llm]]:
    async with anyio.create_task_group() as tasks:
        servers = Pair(tasks)
        for number in (0, 1):
            await servers.start(number)
        for number in {0, 1} - set(up):
            await servers.die(number)
        one, two = servers.servers
        async with (
            chat.engine(one, kind, servers.tap, **chat.PATIENT) as first,
            chat.engine(two, kind, servers.tap, **chat.PATIENT) as second,
        ):
            llm = Workers((first, second), (one.url, two.url), chat.setup("").config.llm, servers.tap)
            tasks.start_soon(llm.watch)
            yield servers, llm
            tasks.cancel_scope.cancel()


def prompt(*texts: str) -> Prompt:
    roles = ("user", "assistant")
    messages = (Message(roles[n % 2], text) for n, text in enumerate(texts))  # type: ignore[arg-type]
    return Prompt((Message("system", "Answer in a few words."), *messages))


async def test_conversations_stay_where_they_began_and_are_spread() -> None:
    async with pair() as (servers, llm):
        talks = [[f"{topic} are what I would like to hear about"] for topic in ("Cats", "Dogs", "Birds", "Fish")]
        for turn in range(3):
            for talk in talks:
                await chat.ask(llm, prompt(*talk))
                talk += ["They are very nice indeed.", f"Tell me more, please, number {turn}."]
    for number in (0, 1):
        assert len(servers.asked(number)) == 6
        assert len({chat["messages"][1]["content"] for _, chat in servers.servers[number].chats}) == 2
    assert llm.context == 4096


async def test_what_is_read_in_advance_is_read_where_the_answer_will_come_from() -> None:
    async with pair(SglangLlm) as (servers, llm):
        for server in servers.servers:
            server.scenes = [chat.READ, chat.GOOD]
        for text in ("I would like", "What is the time"):
            assert await llm.prefill(prompt(text), request=chat.REQUEST) == Usage(9, 4, 0, "length")
            await chat.ask(llm, prompt(f"{text} in Rome"))
    assert [servers.asked(number) for number in (0, 1)] == [
        ["I would like", "I would like in Rome"],
        ["What is the time", "What is the time in Rome"],
    ]


async def test_a_dead_servers_conversation_goes_on_at_the_other_and_may_stay_there() -> None:
    async with pair() as (servers, llm):
        await chat.ask(llm, prompt("I would like tea"))
        await servers.die(0)
        assert await chat.ask(llm, prompt("I would like tea", "So would I.", "Go on")) == [
            TextDelta("Hel"), TextDelta("lo."), Usage(9, 4, 2),
        ]  # fmt: skip
        assert [name for name, _, _ in servers.tap.calls].count("llm_failovers_total") == 1
        await servers.until(well=1)
        await servers.start(0)
        await servers.until(well=2)
        await chat.ask(llm, prompt("I would like tea", "So would I.", "Go on", "Well.", "And then?"))
        assert servers.asked(1) == ["Go on", "And then?"]
        await chat.ask(llm, prompt("What is the time"))
        assert servers.asked(0) == ["I would like tea", "What is the time"]
    assert [name for name, _, _ in servers.tap.calls].count("llm_failovers_total") == 1


@pytest.mark.parametrize(
    "scene",
    [chat.then_drop(b""), chat.then_drop(chat.SSE), chat.answer(500, {}), chat.answer(401, {}), chat.SSE + chat.DONE],
)
async def test_what_fails_before_its_first_token_begins_anew(scene: bytes | chat.Scene) -> None:
    async with pair() as (servers, llm):
        servers.servers[0].scenes = [scene]
        assert len(await chat.ask(llm)) == 3
        assert len(await chat.ask(llm)) == 3
        assert len(servers.asked(1)) == 2


async def test_what_fails_after_its_first_token_fails_in_words() -> None:
    async with pair() as (servers, llm):
        servers.servers[0].scenes = [chat.then_drop(chat.SSE, chat.delta(content="Hel"))]
        async with llm.stream(chat.PROMPT, request=chat.REQUEST, priority=Priority.FINAL) as events:
            assert await anext(events) == TextDelta("Hel")
            with pytest.raises(EngineError, match="broke off"):
                await anext(events)
        assert not servers.asked(1)
        assert len(await chat.ask(llm)) == 3
        assert len(servers.asked(1)) == 1


async def test_a_server_is_tried_again_after_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(workers, "current_time", lambda: now)
    async with pair() as (servers, llm):
        servers.servers[0].scenes = [chat.answer(500, {}), chat.GOOD]
        for _ in range(2):
            await chat.ask(llm, prompt("I would like tea"))
        assert [len(servers.asked(number)) for number in (0, 1)] == [1, 2]
        await chat.ask(llm, prompt("What is the time"))
        now = breaker.FIRST_PAUSE
        await chat.ask(llm, prompt("How do you do"))
        assert [len(servers.asked(number)) for number in (0, 1)] == [2, 3]


async def test_a_bad_request_is_bad_everywhere_and_no_servers_fault() -> None:
    async with pair() as (servers, llm):
        servers.servers[0].scenes = [chat.answer(400, {"message": "no"}), chat.GOOD]
        with pytest.raises(Unfit):
            await chat.ask(llm)
        assert len(await chat.ask(llm)) == 3
        assert not servers.asked(1)


async def test_reading_in_advance_never_moves() -> None:
    async with pair(SglangLlm) as (servers, llm):
        servers.servers[0].scenes = [chat.answer(500, {})]
        with pytest.raises(EngineError):
            await llm.prefill(prompt("I would like"), request=chat.REQUEST)
        assert not servers.asked(1)
        await chat.ask(llm, prompt("I would like tea"))
        assert servers.asked(1) == ["I would like tea"]


async def test_a_server_that_others_use_is_spared() -> None:
    async with pair() as (servers, llm):
        servers.servers[0].load = 7
        looks = len(servers.servers[0].requests)
        while [path for path, _, _ in servers.servers[0].requests[looks:]].count("/v1/loads?include=core") < 2:
            await anyio.lowlevel.checkpoint()
        for text in ("I would like tea", "What is the time", "How do you do"):
            await chat.ask(llm, prompt(text))
        assert not servers.asked(0)


async def test_new_conversations_go_where_fewest_wait() -> None:
    done = anyio.Event()
    async with pair() as (servers, llm):
        for server in servers.servers:
            server.scenes = [chat.after(done, chat.GOOD)]
        async with anyio.create_task_group() as tasks:
            for topic in ("Cats", "Dogs", "Birds", "Fish", "Ants", "Bees"):
                tasks.start_soon(chat.ask, llm, prompt(f"{topic} please"))
            while sum(len(servers.asked(number)) for number in (0, 1)) < 6:
                await anyio.lowlevel.checkpoint()
            assert [len(servers.asked(number)) for number in (0, 1)] == [3, 3]
            done.set()


async def test_a_conversation_leaves_a_server_that_is_far_busier() -> None:
    async with pair() as (servers, llm):
        servers.servers[0].scenes = [chat.then_silence()]
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(chat.ask, llm, prompt("Tell me all about the sea"))
                while len(servers.asked(0)) <= number:
                    await anyio.lowlevel.checkpoint()
            await chat.ask(llm, prompt("Tell me all about the sea"))
            assert len(servers.asked(1)) == 1
            tasks.cancel_scope.cancel()


async def test_a_plain_server_is_known_by_its_models_and_a_loading_one_by_its_status() -> None:
    async with pair() as (servers, _):
        servers.servers[0].ready_status = 404
        servers.servers[1].ready_status = 503
        await servers.until(well=1)
        servers.servers[1].ready_status = 404
        await servers.until(well=2)


async def test_one_that_is_not_there_at_the_start_is_not_waited_for() -> None:
    async with pair(up=(1,)) as (servers, llm):
        assert len(await chat.ask(llm)) == 3
        assert len(servers.asked(1)) == 1


async def test_where_all_are_gone_the_caller_is_told_and_later_served() -> None:
    async with pair(up=()) as (servers, llm):
        await servers.until(well=0)
        with pytest.raises(EngineError, match="cannot be reached"):
            await chat.ask(llm)
        await servers.start(1)
        await servers.until(well=1)
        assert len(await chat.ask(llm)) == 3


async def test_twenty_conversations_survive_one_of_two_servers() -> None:
    lost: list[str] = []

    async with pair() as (servers, llm):

        async def talk(topic: str) -> None:
            texts = [f"{topic} is what I would like to hear about"]
            for turn in range(6):
                try:
                    assert len(await chat.ask(llm, prompt(*texts))) == 3
                except EngineError as error:
                    lost.append(str(error))
                texts += ["That is very interesting.", f"Tell me more, please, number {turn}."]

        dying = anyio.Event()

        async def half(stream: SocketStream) -> None:
            dying.set()
            await chat.then_silence(chat.SSE, chat.delta(content="Hel"))(stream)

        servers.servers[0].scenes = [*[chat.GOOD] * 25, half]
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(talk, f"{number} {'abcdefghijklmnopqrstuvwxyz'[number]}")
            await dying.wait()
            await anyio.wait_all_tasks_blocked()
            await servers.die(0)
        assert len(servers.asked(0)) + len(servers.asked(1)) >= 120
        assert len(servers.asked(1)) > 60
        assert 1 <= len(lost) <= 20
        assert all("broke off" in message for message in lost)
