"""Which slot a prompt gets, and when a cancelled one is free again."""

import anyio
import pytest

from tests.taps import Awaited
from voice.engines import EngineError, slots
from voice.engines.slots import Slots
from voice.events import Message, Prompt

pytestmark = pytest.mark.anyio


class Engine:
    """Says which slots it works on."""

    def __init__(self, count: int = 3) -> None:
        self.busy: set[int] | None = set()
        self.looked = anyio.Event()
        self.killed = 0
        self.tap = Awaited()
        self.slots = Slots(count, self.look, self.tap, "llama")

    async def look(self) -> set[int] | None:
        self.looked.set()
        return self.busy

    def kill(self) -> None:
        self.killed += 1

    async def use(self, *texts: str, ended: bool = True) -> int:
        """Take a slot for a conversation and give it back."""
        lease = await self.slots.take(prompt(*texts), 0.0)
        lease.ended = ended
        self.slots.give_back(lease)
        return lease.slot


def prompt(*texts: str) -> Prompt:
    roles = ("user", "assistant")
    messages = (Message(roles[n % 2], text) for n, text in enumerate(texts))  # type: ignore[arg-type]
    return Prompt((Message("system", "Answer in a few words."), *messages))


async def test_a_conversation_comes_back_to_its_slot() -> None:
    engine = Engine()
    assert await engine.use("I like tea") == 0
    assert await engine.use("What is the time") == 1
    assert await engine.use("What is the time", "Noon, or a little later.", "And") == 1
    assert await engine.use("I like tea", "So do I.", "Do you?") == 0
    assert await engine.use("What is the time", "Noon,", "And the day?") == 1


async def test_words_that_grow_or_are_revised_stay_where_they_are() -> None:
    engine = Engine()
    for text in (
        "I would lie",
        "I would like",
        "I would like a table",
        "I'd like a table",
        "I'd like a table, please.",
    ):
        assert await engine.use(text) in (0, 1)
    assert await engine.use("I would like a table for two") == 0


async def test_case_and_punctuation_are_revised_to_the_very_end() -> None:
    engine = Engine()
    assert await engine.use("produced the books. which were the immediate predecessors of the") == 0
    assert await engine.use("Produced the books, which were the immediate predecessors of the true one.") == 0


async def test_instructions_that_all_share_make_no_slot_ones_own() -> None:
    engine = Engine()
    assert [await engine.use(text) for text in ("What a day", "What time is it", "At the sea", "Up there")] == [
        0,
        1,
        2,
        0,
    ]


async def test_instructions_read_in_advance_serve_the_first_turn() -> None:
    engine = Engine()
    await engine.use("I like tea")
    assert await engine.use("Hello.") == 1
    assert await engine.use("What is the time") == 1
    assert await engine.use() == 2
    assert await engine.use("I like milk") == 2


async def test_a_slot_in_use_is_nobody_elses() -> None:
    engine = Engine(1)
    lease = await engine.slots.take(prompt("a"), 0.0)
    with pytest.raises(EngineError, match="more work"):
        await engine.slots.take(prompt("a"), 0.0)
    engine.slots.close()
    with pytest.raises(EngineError, match="restarting"):
        await engine.slots.take(prompt("a"), 60.0)
    engine.slots.give_back(lease)


async def test_a_cancelled_slot_is_free_when_the_engine_is_idle() -> None:
    engine = Engine()
    engine.busy = {0}
    assert await engine.use("I like tea", ended=False) == 0
    assert await engine.use("What is the time") == 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.slots.watch, engine.kill)
        taken: list[int] = []

        async def again() -> None:
            taken.append((await engine.slots.take(prompt("I like tea"), 60.0)).slot)

        tasks.start_soon(again)
        await engine.looked.wait()
        await anyio.wait_all_tasks_blocked()
        assert not taken
        engine.busy = set()
        [seconds] = await engine.tap.until("cancel_to_idle_seconds")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert taken == [0]
    assert seconds > 0


@pytest.mark.parametrize("busy", [{0}, None])
async def test_a_slot_that_works_on_is_counted_once_and_ends_in_a_restart(
    busy: set[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "LEAK_SECONDS", 0.02)
    monkeypatch.setattr(slots, "STUCK_SECONDS", 0.1)
    engine = Engine()
    engine.busy = busy
    async with anyio.create_task_group() as tasks:

        def kill() -> None:
            engine.kill()
            tasks.cancel_scope.cancel()

        await engine.use("I like tea", ended=False)
        tasks.start_soon(engine.slots.watch, kill)
        await engine.tap.until("llm_leaked_total")
        assert await engine.use("I like tea") == 1
    assert engine.killed == 1
    assert engine.tap.calls == [("llm_leaked_total", 1.0, {"engine": "llama"})]
