"""The channel's books balance whatever happens to it."""

import anyio
from anyio import wait_all_tasks_blocked
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.channel import Channel, ChannelFull, Overflow
from streams.virtual import VirtualLoop

Item = tuple[int, float]
Op = tuple[str, float]

LIMIT = 1.0
WEIGHTS = st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.7, 1.0, 2.5])
OPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["send", "offer"]), WEIGHTS),
        st.tuples(st.sampled_from(["receive", "cancel sender", "cancel receiver", "clear", "let run"]), st.just(0.0)),
    ),
    max_size=60,
)


class Books:
    """Runs operations on a channel and writes down what became of every item."""

    def __init__(self, overflow: Overflow) -> None:
        self.channel = Channel[Item]("test", LIMIT, overflow, weigh=lambda item: item[1], tap=self)
        self.put: list[Item] = []  # what went in
        self.got: list[Item] = []
        self.cleared: list[Item] = []
        self.unsent: list[Item] = []
        self.dropped = 0.0
        self.held = 0.0
        self.senders: list[anyio.CancelScope] = []
        self.receivers: list[anyio.CancelScope] = []

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        if labels["reason"] == "overflow":
            self.dropped += amount

    def observe(self, name: str, value: float, /, **labels: str) -> None: ...

    def level(self, name: str, value: float, /, **labels: str) -> None: ...

    def shift(self, name: str, by: float, /, **labels: str) -> None:
        self.held += by
        assert self.held <= LIMIT + 1e-6 or len(self.channel) == 1
        assert abs(self.held - self.channel.weight) < 1e-6

    async def send(self, item: Item, scope: anyio.CancelScope) -> None:
        sent = False
        with scope:
            try:
                await self.channel.send(item)
                sent = True
            except ChannelFull:
                pass
        (self.put if sent else self.unsent).append(item)
        self.senders.remove(scope)

    async def receive(self, scope: anyio.CancelScope) -> None:
        with scope:
            self.got.append(await self.channel.receive())
        self.receivers.remove(scope)

    async def run(self, ops: list[Op]) -> None:
        async with anyio.create_task_group() as group:
            for number, (op, weight) in enumerate(ops):
                await self.step(group, op, (number, weight))
                await anyio.lowlevel.checkpoint()
            for scope in [*self.senders, *self.receivers]:
                scope.cancel()
            await wait_all_tasks_blocked()
        assert not self.senders
        assert not self.receivers

    async def step(self, group: anyio.abc.TaskGroup, op: str, item: Item) -> None:
        scope = anyio.CancelScope()
        if op == "send":
            self.senders.append(scope)
            group.start_soon(self.send, item, scope)
        elif op == "offer":
            try:
                taken = self.channel.offer(item)
            except ChannelFull:
                taken = False
            (self.put if taken else self.unsent).append(item)
        elif op == "receive":
            self.receivers.append(scope)
            group.start_soon(self.receive, scope)
        elif op == "clear":
            self.cleared += self.channel.clear()
        elif op == "let run":
            await wait_all_tasks_blocked()
            assert not (self.receivers and len(self.channel)), "a receiver is stuck"
            assert not (self.senders and not len(self.channel)), "a sender is stuck"
        elif line := {"cancel sender": self.senders, "cancel receiver": self.receivers}[op]:
            line[0].cancel()


@settings(max_examples=300)
@given(overflow=st.sampled_from(Overflow), ops=OPS)
def test_what_went_in_came_out_was_dropped_or_is_still_there(overflow: Overflow, ops: list[Op]) -> None:
    books = Books(overflow)
    anyio.run(books.run, ops, backend_options={"loop_factory": VirtualLoop})
    held = books.channel.clear()
    out = books.got + books.cleared + held
    assert len(set(out)) == len(out)
    assert set(out) <= set(books.put)
    assert not set(books.put) & set(books.unsent)
    lost = sum(weight for _, weight in set(books.put) - set(out))
    assert abs(lost - books.dropped) < 1e-6
    if overflow is not Overflow.DROP_OLDEST:
        assert set(out) == set(books.put)

    for run in (books.got, books.cleared, held):
        assert [number for number, _ in run] == sorted(number for number, _ in run)
