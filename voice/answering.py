"""The replies of one session: begun, released, stopped, finished, and told to the client in order."""

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from streams.audio import Audio
from streams.channel import Channel, Overflow
from streams.link import SlowReader
from streams.tap import Tap
from voice.commands import Begin, Reason
from voice.config import Config
from voice.engines import Asr, Llm, Tts, TurnModel, Vad
from voice.events import ReplyDone, Spoken, ToolCall, Usage, Word
from voice.realtime.client_events import Respond
from voice.realtime.response import ResponseWriter
from voice.realtime.server import ServerSide
from voice.realtime.shapes import new_id
from voice.replying import Job, Replying
from voice.terms import terms
from voice.timeline import Timeline

OUTBOX = 256
"""Frames that may wait for the link; a client that reads so slowly is let go."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The models all callers share; without a turn model, silence alone ends a turn."""

    vad: Vad
    asr: Asr
    llm: Llm
    tts: Tts
    turn: TurnModel | None = None


@dataclass(frozen=True, slots=True)
class Out:
    """A frame for the client; audio of a reply carries its turn, so that it can be taken back."""

    frame: str | bytes
    turn: int = 0


class Outbox:
    """Frames on their way to the client, in order."""

    def __init__(self, patience: float, tap: Tap) -> None:
        self._channel: Channel[Out] = Channel("session_link", OUTBOX, Overflow.WAIT, tap=tap)
        self._patience = patience
        self._taken = anyio.Event()

    async def down_to(self, frames: int) -> None:
        """Wait until no more than so many frames wait for the link."""
        while len(self._channel) > frames:
            await self._taken.wait()

    def tell(self, frames: list[str | bytes]) -> None:
        """Queue frames at once. Raises SlowReader when the client has not taken hundreds before them."""
        for frame in frames:
            if not self._channel.offer(Out(frame)):
                raise SlowReader(self._patience)

    async def send(self, frames: list[str | bytes], turn: int = 0) -> None:
        """Queue frames as there is room; with a `turn`, they can be taken back."""
        for frame in frames:
            await self._channel.send(Out(frame, turn))

    def take_back(self, turn: int) -> None:
        """Throw away what is queued with that turn."""
        self._channel.clear(lambda out: out.turn == turn)
        self._moved()

    async def receive(self) -> str | bytes:
        """The next frame, in order."""
        out = await self._channel.receive()
        self._moved()
        return out.frame

    def _moved(self) -> None:
        self._taken.set()
        self._taken = anyio.Event()


@dataclass(slots=True, eq=False)
class _Running:
    """A reply under way and all that belongs to it."""

    replying: Replying
    writer: ResponseWriter
    response_id: str
    timeline: Timeline | None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Answers:
    """Carries out what the dialog decides about replies; tells it through `happened` how they go on."""

    def __init__(
        self,
        tasks: TaskGroup,
        protocol: ServerSide,
        engines: Engines,
        config: Config,
        outbox: Outbox,
        happened: Callable[[Spoken | ReplyDone], None],
        tap: Tap,
    ) -> None:
        self._tasks = tasks
        self._protocol = protocol
        self._engines = engines
        self._config = config
        self._outbox = outbox
        self._happened = happened
        self._tap = tap
        self._running: dict[int, _Running] = {}

    def turn(self, response_id: str) -> int | None:
        """The turn of a response under way."""
        for turn, running in self._running.items():
            if running.response_id == response_id:
                return turn
        return None

    def sounded(self, turn: int) -> float:
        """Seconds of a reply that the client has heard by now, as far as we can tell."""
        return self._running[turn].replying.playout.sounded()

    def begin(self, begin: Begin, timeline: Timeline | None) -> None:
        """Start a reply; a timeline is marked as it goes."""
        asked = begin.ask.request if isinstance(begin.ask.request, Respond) else None
        agreed = terms(self._protocol.session, asked)
        response_id = new_id("resp")
        llm, context = self._config.llm, self._engines.llm.context
        job = Job(
            turn=begin.turn,
            request=response_id,
            session=self._protocol.session_id,
            prompt=lambda left_out: agreed.prompt(
                begin.items[left_out:], context=context, max_tokens=llm.max_tokens, temperature=llm.temperature
            ),
            rate=agreed.rate,
            voice=self._protocol.defaults.voices[agreed.voice],
            speed=agreed.speed * self._config.tts.speed,
            ahead=self._config.playout.ahead_seconds,
        )
        writer = self._protocol.respond(
            response_id,
            begin.item_id,
            previous=begin.items[-1].id if begin.items else None,
            voice=agreed.voice,
            modality=agreed.modality,
            format=agreed.format,
            conversation=not begin.ask.aside,
            metadata=asked.metadata if asked else None,
            max_output_tokens=agreed.max_output_tokens,
        )
        outlet = _Outlet(self._happened, self._outbox, writer, begin.turn)
        replying = Replying(
            job, self._engines.llm, self._engines.tts, outlet, lambda name: self._mark(begin.turn, name), self._tap
        )
        self._running[begin.turn] = running = _Running(replying, writer, response_id, timeline)
        self._tasks.start_soon(self._run, running)
        if not begin.gated:
            self.release(begin.turn)

    async def _run(self, running: _Running) -> None:
        with running.scope:
            self._happened(await running.replying.run())

    def release(self, turn: int) -> None:
        """Let a reply out."""
        running = self._running[turn]
        self._outbox.tell(running.writer.created())
        running.replying.gate.set()

    def abort(self, turn: int, reason: Reason, heard: str) -> None:
        """Stop a reply: its engines, its audio on the way out, and its response, of which `heard` stays."""
        running = self._running.pop(turn)
        running.scope.cancel()
        self._outbox.take_back(turn)
        if reason != "superseded":
            self._outbox.tell(running.writer.done("cancelled", reason=reason, heard=heard))

    def finish(self, turn: int, usage: Usage, fault: str) -> None:
        """Tell that a reply is over."""
        running = self._running.pop(turn)
        writer = running.writer
        if running.replying.playout.sent:
            self._tap.observe("playout_gap_seconds", running.replying.playout.gaps)
        if fault:
            frames = writer.done("failed", usage=usage, fault=fault)
        elif usage.finish == "length":
            frames = writer.done("incomplete", reason="max_output_tokens", usage=usage)
        else:
            frames = writer.done(usage=usage)
        self._outbox.tell(frames)

    def _mark(self, turn: int, name: str) -> None:
        running = self._running.get(turn)
        if running is None or running.timeline is None:
            return
        timeline = running.timeline
        if timeline.mark(name, anyio.current_time()) and name == "voice_to_voice":
            for mark, seconds in timeline.marks.items():
                self._tap.observe("turn_seconds", seconds, mark=mark)
            self._outbox.tell(self._protocol.timeline(timeline.report(running.response_id)))


@dataclass(frozen=True, slots=True)
class _Outlet:
    """Where one reply goes: into the conversation and to the client."""

    happened: Callable[[Spoken | ReplyDone], None]
    outbox: Outbox
    writer: ResponseWriter
    turn: int

    async def say(self, text: str, words: tuple[Word, ...]) -> None:
        self.happened(Spoken(self.turn, text, words))
        await self.outbox.send(self.writer.say(text))

    async def sound(self, audio: Audio) -> None:
        await self.outbox.send(self.writer.audio(audio.samples), self.turn)

    async def write(self, text: str) -> None:
        self.happened(Spoken(self.turn, text))
        await self.outbox.send(self.writer.text(text))

    async def call(self, call: ToolCall) -> None:
        await self.outbox.send(self.writer.tool_call(call, call.call_id))
