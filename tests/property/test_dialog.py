"""Whatever happens to a conversation, in whatever order: the dialog's promises hold."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from voice import commands as cmd
from voice import dialog
from voice.events import (
    Judged,
    Moved,
    Played,
    Recognised,
    ReplyDone,
    SpeechStarted,
    SpeechStopped,
    Spoken,
    Tick,
    Transcript,
    Usage,
    Word,
)
from voice.history import Item
from voice.state import Phrases, Policy, State

ACTIONS = (
    "speak", "stop", "partial", "final", "late_final", "judge", "wait", "say", "play", "reply_done", "reply_fault",
    "move", "ask", "aside", "aside_done", "cancel", "commit", "clear", "insert", "delete", "truncate",
)  # fmt: skip

TEXTS = ("", "stop", "uh-huh", "tell me more about that please", "yes", "w1", "the")

policies = st.builds(
    Policy,
    detect=st.just(True),
    answer=st.booleans(),
    interrupt=st.booleans(),
    lead=st.sampled_from([0.0, 0.3, 0.6]),
    silence_seconds=st.sampled_from([0.2, 0.5, 1.0]),
    eagerness=st.sampled_from([None, "low", "medium", "high", "auto"]),
    idle_seconds=st.sampled_from([0.0, 0.0, 3.0]),
    phrases=st.sampled_from([Phrases(), Phrases("again?", "there?")]),
)


@dataclass
class World:
    """Plays the session's part: does what the dialog says and keeps what must hold."""

    policy: Policy
    state: State = field(default_factory=lambda: State(key="t"))
    now: float = 0.0
    speaking: bool = False
    gated: set[int] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    said: dict[int, list[Word]] = field(default_factory=dict)
    open_item: str | None = None
    closed: list[str] = field(default_factory=list)
    transcribed: list[str] = field(default_factory=list)
    volume: dict[int, cmd.Command] = field(default_factory=dict)
    log: list[cmd.Command] = field(default_factory=list)

    def feed(self, event: dialog.Event) -> list[cmd.Command]:
        self.state, decided = dialog.step(self.state, event, self.policy)
        for command in decided:
            self.obey(command)
        self.check()
        return list(decided)

    def obey(self, command: cmd.Command) -> None:
        self.log.append(command)
        match command:
            case cmd.Opened(item_id, _):
                assert self.open_item is None
                self.open_item = item_id
            case cmd.Closed(item, _, _, _):
                assert item.id not in self.closed
                self.closed.append(item.id)
                self.open_item = None
            case cmd.Dropped():
                self.open_item = None
            case cmd.Transcribed(item_id, _, _):
                assert item_id in self.closed
                assert item_id not in self.transcribed
                self.transcribed.append(item_id)
            case cmd.Begin(turn, _, _, _, gated):
                assert turn not in self.running | self.gated | self.ended
                (self.gated if gated else self.running).add(turn)
            case cmd.Release(turn):
                assert turn in self.gated
                self.gated.remove(turn)
                self.running.add(turn)
            case cmd.Withdraw(turn, _):
                assert turn in self.gated, "what anyone has heard of is not withdrawn"
                self.gated.remove(turn)
                self.ended.add(turn)
            case cmd.Duck(turn) | cmd.Hold(turn) | cmd.Resume(turn):
                assert turn in self.running, "only what sounds has a volume"
                self.volume[turn] = command
            case cmd.Abort(turn, _, _):
                assert turn in self.running
                self.running.remove(turn)
                self.ended.add(turn)
            case cmd.Ignored(_):
                assert self.open_item is None, "what the client was told of is not ignored"
            case cmd.Finish(turn, _, _, _):
                assert turn in self.running
                self.running.remove(turn)
                self.ended.add(turn)

    def check(self) -> None:
        state = self.state
        ids = [item.id for item in state.items]
        assert len(ids) == len(set(ids)), "ids are unique"
        main = {state.reply.turn} if state.reply else set()
        assert (self.gated | self.running) == main | state.asides, "what runs is what the state says"
        assert len(self.gated) <= 1
        told = state.utterance is not None and state.utterance.over is None
        assert told == (self.open_item is not None)
        if state.reply and state.reply.turn in self.volume and not (state.utterance and state.utterance.over):
            assert isinstance(self.volume[state.reply.turn], cmd.Resume), "an answer does not stay soft, or silent"
        if state.utterance:
            assert state.utterance.item_id not in ids, "an open utterance is not in the conversation yet"
        assert {late.item_id for late in state.pending} == set(self.closed) - set(self.transcribed)

    def do(self, action: str, number: int) -> None:
        state = self.state
        self.now += 0.1
        match action:
            case "speak" if not self.speaking:
                self.speaking = True
                self.feed(SpeechStarted(self.now))
            case "stop" if self.speaking:
                self.speaking = False
                self.feed(SpeechStopped(self.now - 0.05, self.now))
            case "partial" if state.utterance:
                self.feed(self.heard(state.utterances, TEXTS[number % len(TEXTS)], final=False))
            case "final" if state.utterance and not self.speaking:
                self.feed(self.heard(state.utterances, TEXTS[number % len(TEXTS)], final=True))
            case "late_final" if state.pending:
                self.feed(self.heard(state.pending[0].number, TEXTS[number % len(TEXTS)], final=True))
            case "judge" if state.utterance:
                late = number % 3 == 0
                self.feed(Judged(state.utterances, state.utterance.stopped - late, (number % 11) / 10))
            case "wait":
                self.now += number / 4
                self.feed(Tick(self.now))
            case "say" if state.reply and state.reply.turn in self.running:
                self.say(state.reply.turn)
            case "play" if state.reply and state.reply.turn in self.running:
                self.feed(Played(state.reply.turn, number / 5))
            case "move" if state.reply and state.reply.turn in self.running:
                self.feed(Moved(state.reply.turn, number / 5, 0.3))
            case "reply_done" | "reply_fault" if state.reply and state.reply.turn in self.running:
                self.feed(ReplyDone(state.reply.turn, usage=Usage(), fault="broken" * (action == "reply_fault")))
            case "ask":
                self.feed(cmd.Ask(request="client"))
            case "aside":
                self.feed(cmd.Ask(request="client", aside=True))
            case "aside_done" if state.asides:
                self.feed(ReplyDone(min(state.asides)))
            case "cancel":
                self.feed(cmd.Cancel())
            case "commit":
                self.speaking = False
                self.feed(cmd.Commit(self.now))
            case "clear":
                self.speaking = False
                self.feed(cmd.Clear())
            case "insert":
                self.feed(cmd.Insert(Item(f"mine{number % 5}", text="hello"), None if number % 2 else "root"))
            case "delete" | "truncate" if state.items:
                item = state.items[number % len(state.items)]
                self.feed(cmd.Delete(item.id) if action == "delete" else cmd.Truncate(item.id, number / 10))

    def heard(self, utterance: int, text: str, final: bool) -> Recognised:
        words = tuple(Word(word, self.now, self.now) for word in text.split())
        return Recognised(utterance, Transcript(text, "", final, self.now, words=words))

    def say(self, turn: int) -> None:
        words = self.said.setdefault(turn, [])
        start = words[-1].end if words else 0.0
        word = Word(f"w{len(words)}", start, start + 0.5)
        words.append(word)
        self.feed(Spoken(turn, f"{word.text} ", (word,)))


@given(policies, st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20)), max_size=80))
def test_invariants_hold_for_any_conversation(policy: Policy, script: list[tuple[str, int]]) -> None:
    world = World(policy)
    for action, number in script:
        world.do(action, number)
    assert not world.ended & (world.running | world.gated), "what has ended stays ended"


@given(policies, st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20)), max_size=60))
def test_every_conversation_comes_to_rest(policy: Policy, script: list[tuple[str, int]]) -> None:
    world = World(policy)
    for action, number in script:
        world.do(action, number)
    for action, number in rest(world):
        world.do(action, number)
    assert not world.state.pending
    assert not world.state.asked
    assert not world.gated
    assert not world.running


def rest(world: World) -> Iterator[tuple[str, int]]:
    """The caller falls silent, the engines do their work, time passes."""
    yield from (("stop", 0), ("final", 1), ("wait", 32))
    for _ in range(12):
        yield from (("late_final", 1), ("reply_done", 0), ("aside_done", 0))


@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=20), st.floats(0, 25), st.floats(0, 25))
def test_history_holds_what_was_heard(lengths: list[float], played: float, certain: float) -> None:
    world = World(Policy())
    world.feed(cmd.Insert(Item("q", text="question")))
    world.feed(cmd.Ask(request="client"))
    start = 0.0
    for n, length in enumerate(lengths):
        word = Word(f"w{n}", start, start + length)
        start += length
        world.feed(Spoken(1 if world.state.reply is None else world.state.reply.turn, f"{word.text} ", (word,)))
    reply = world.state.reply
    assert reply is not None
    world.feed(Played(reply.turn, played))
    world.feed(SpeechStarted(1.0))
    world.feed(world.heard(0, "stop", final=False))
    expected = [w.text for w in reply.words if (w.start + w.end) / 2 <= played]
    assert world.state.items[-1].text.split() == expected
    world.feed(cmd.Truncate(reply.item_id, certain))
    corrected = [w.text for w in reply.words if (w.start + w.end) / 2 <= certain]
    assert world.state.items[-1].text.split() == corrected, "the client's word overrides our estimate, both ways"


def test_a_pause_in_mid_sentence_takes_the_speculative_reply_back() -> None:
    world = World(Policy())
    world.feed(SpeechStarted(0.0))
    world.feed(SpeechStopped(1.0, 1.2))
    begun = world.feed(world.heard(0, "what is", final=True))
    assert any(isinstance(command, cmd.Begin) and command.gated for command in begun)
    resumed = world.feed(SpeechStarted(1.3))
    assert resumed == [cmd.Withdraw(begun[-1].turn, "resumed"), cmd.Warm(())]  # type: ignore[union-attr]
    world.feed(SpeechStopped(2.0, 2.2))
    world.feed(world.heard(0, "what is the time", final=True))
    released = world.feed(Tick(2.5))
    assert [type(command) for command in released] == [cmd.Closed, cmd.Transcribed, cmd.Release]
    assert world.state.items[-1].text == "what is the time"


def test_words_read_along_are_not_given_up_for_the_conversation_without_them() -> None:
    world = World(Policy())
    assert cmd.Warm(()) in world.feed(SpeechStarted(0.0))
    assert any(isinstance(command, cmd.Warm) for command in world.feed(world.heard(0, "what is the time", final=False)))
    world.feed(SpeechStopped(1.0, 1.2))
    assert not any(isinstance(command, cmd.Warm) for command in world.feed(SpeechStarted(1.3)))


def test_what_is_read_along_has_no_full_stop_at_a_pause_inside_a_sentence() -> None:
    world = World(Policy())
    world.feed(SpeechStarted(0.0))
    *_, warm = world.feed(world.heard(0, "At 9.30. the old books. which Dr. Who. Yes", final=False))
    assert isinstance(warm, cmd.Warm)
    assert warm.items[-1].text == "At 9.30, the old books, which Dr. Who. Yes"


def test_noise_without_words_asks_for_no_reply() -> None:
    world = World(Policy())
    world.feed(SpeechStarted(0.0))
    world.feed(SpeechStopped(0.2, 0.4))
    world.feed(Tick(1.0))
    decided = world.feed(world.heard(0, "", final=True))
    assert decided == [cmd.Transcribed(world.closed[0], "")]
    assert world.state.reply is None


def test_a_second_response_is_refused_while_one_is_active() -> None:
    world = World(Policy())
    world.feed(cmd.Ask(request="client"))
    [refused] = world.feed(cmd.Ask(request="client"))
    assert isinstance(refused, cmd.Refuse)
    assert refused.code == "conversation_already_has_active_response"


@given(policies, st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20)), max_size=60))
def test_when_a_deadline_passes_something_happens(policy: Policy, script: list[tuple[str, int]]) -> None:
    world = World(policy)
    for action, number in script:
        world.do(action, number)
        due = dialog.deadline(world.state, policy)
        if due is None:
            continue
        late, commands = dialog.step(world.state, Tick(due + 0.001), policy)
        after = dialog.deadline(late, policy)
        assert commands or after is None or after > due + 0.001, "nobody is woken for nothing, again and again"
