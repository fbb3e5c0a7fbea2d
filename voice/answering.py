"""The replies of one session: begun, released, stopped, finished, and told to the client in order."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import anyio
from anyio.abc import TaskGroup

from streams.audio import Audio
from streams.channel import Channel, Overflow
from streams.echo import Echo
from streams.link import SlowReader
from streams.tap import Tap
from voice.commands import Begin, Cause, Reason
from voice.config import Config
from voice.engines import Asr, Llm, Tts, TurnModel, Vad
from voice.events import Moved, Prompt, ReplyDone, Spoken, ToolCall, Usage, Word
from voice.history import Items
from voice.ledger import Draft, Ledger, Outcome
from voice.realtime.client_events import Respond
from voice.realtime.response import ResponseWriter
from voice.realtime.server import ServerSide
from voice.realtime.shapes import new_id
from voice.replying import Job, Replying
from voice.terms import Terms, terms
from voice.timeline import Timeline
from voice.warming import Warming

_log = logging.getLogger(__name__)

OUTBOX = 256
"""Frames that may wait for the link; a client that reads so slowly is let go."""

TRACK_AHEAD = 0.1
"""Seconds ahead of real time where we play it ourselves: enough for a busy loop, and soon silent when it must be."""

UNREAD = 25
"""Frames that may wait before a reply waits for the client: a second of sound."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The models all callers share; without a turn model, silence alone ends a turn.

    `load` says how many calls wait or run for each thread of the busiest.
    """

    vad: Vad
    asr: Asr
    llm: Llm
    tts: Tts
    turn: TurnModel | None = None
    load: Callable[[], float] = lambda: 0.0


@dataclass(frozen=True, slots=True)
class Out:
    """A frame for the client; audio of a reply carries its turn, so that it can be taken back."""

    frame: str | bytes
    turn: int = 0


class Outbox:
    """Frames on their way to the client, in order.

    Args:
        patience: seconds a client may take nothing.
        flush: throws away sound that the link has taken and not sent.
    """

    def __init__(self, patience: float, tap: Tap, flush: Callable[[], None] = lambda: None) -> None:
        self._channel: Channel[Out] = Channel("session_link", OUTBOX, Overflow.WAIT, tap=tap)
        self._patience = patience
        self._flush = flush
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

    def offer(self, frames: list[str | bytes]) -> None:
        """Queue frames that may be left out where there is no room."""
        for frame in frames:
            self._channel.offer(Out(frame))

    async def send(self, frames: list[str | bytes], turn: int = 0) -> None:
        """Queue frames as there is room; with a `turn`, they can be taken back."""
        for frame in frames:
            await self.down_to(UNREAD - 1)
            await self._channel.send(Out(frame, turn))

    def take_back(self, turn: int) -> None:
        """Throw away what is queued with that turn, and what the link has not sent of it."""
        self._channel.clear(lambda out: out.turn == turn)
        self._flush()
        self._moved()

    async def receive(self) -> str | bytes:
        """The next frame, in order."""
        out = await self._channel.receive()
        self._moved()
        return out.frame

    def clear(self) -> None:
        """Nobody is there any more: throw away what is queued."""
        self._channel.clear()

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
    draft: bool
    begun: float
    ready: float | None = None  # loop time at which there was something to let out
    told: dict[str, object] | None = None  # the timeline, as the client knows it
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
        happened: Callable[[Spoken | Moved | ReplyDone], None],
        echo: Echo,
        tap: Tap,
    ) -> None:
        self.ledger = Ledger(config.speculation.replies)
        self._tasks = tasks
        self._protocol = protocol
        self._engines = engines
        self._config = config
        self._outbox = outbox
        self._happened = happened
        self._echo = echo
        self._tap = tap
        self._running: dict[int, _Running] = {}
        self._warming = Warming(engines.llm)
        if config.speculation.prefill:
            tasks.start_soon(self._warming.run)

    def turn(self, response_id: str) -> int | None:
        """The turn of a response under way."""
        for turn, running in self._running.items():
            if running.response_id == response_id:
                return turn
        return None

    def sounded(self, turn: int) -> float:
        """Seconds of a reply that the client has heard by now, as far as we can tell."""
        return self._running[turn].replying.playout.sounded()

    def warm(self, items: Items) -> None:
        """Have the language model read the conversation so far, for it will soon have to answer."""
        self._warming.ask(lambda: self._prompt(terms(self._protocol.session, None), items))

    def reported(self, turn: int, seconds: float) -> None:
        """The client says that so much of a reply has sounded."""
        self._running[turn].replying.playout.reported(seconds)

    def begin(self, begin: Begin, timeline: Timeline | None) -> None:
        """Start a reply; a timeline is marked as it goes."""
        self._warming.stop()
        asked = begin.ask.request if isinstance(begin.ask.request, Respond) else None
        agreed = terms(self._protocol.session, asked)
        response_id = new_id("resp")
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
        outlet = _Outlet(self._happened, self._outbox, writer, begin.turn, self._echo)
        replying = Replying(
            self._job(begin, agreed, response_id),
            self._engines.llm,
            self._engines.tts,
            outlet,
            lambda name: self._mark(begin.turn, name),
            self._tap,
        )
        running = _Running(replying, writer, response_id, timeline, begin.gated, anyio.current_time())
        self._running[begin.turn] = running
        self._tasks.start_soon(self._run, running)
        if not begin.gated:
            self.release(begin.turn)

    def _job(self, begin: Begin, agreed: Terms, request: str) -> Job:
        config = self._config
        return Job(
            turn=begin.turn,
            request=request,
            session=self._protocol.session_id,
            prompt=lambda left_out: self._prompt(agreed, begin.items[left_out:]),
            say=begin.ask.say,
            apology=config.phrases.apology,
            repair=config.phrases.repair,
            rate=agreed.rate,
            voice=self._protocol.defaults.voices[agreed.voice],
            speed=agreed.speed * config.tts.speed,
            ahead=min(config.playout.ahead_seconds, TRACK_AHEAD if self._protocol.media else inf),
        )

    def _prompt(self, agreed: Terms, items: Items) -> Prompt:
        llm, context = self._config.llm, self._engines.llm.context
        return agreed.prompt(items, context=context, max_tokens=llm.max_tokens, temperature=llm.temperature)

    async def _run(self, running: _Running) -> None:
        with running.scope:
            self._happened(await running.replying.run())

    def release(self, turn: int) -> None:
        """Let a reply out."""
        running = self._running[turn]
        if running.draft:
            self._enter(running, "hit")
        self._outbox.tell(running.writer.created())
        running.replying.gate.set()

    def withdraw(self, turn: int, cause: Cause) -> None:
        """Stop a reply of which nobody has heard."""
        running = self._running.pop(turn)
        running.scope.cancel()
        self._enter(running, cause)

    def _enter(self, running: _Running, outcome: Outcome) -> None:
        """What became of a reply that was begun behind the gate."""
        now, replying = anyio.current_time(), running.replying
        saved = min(running.ready or now, now) - running.begun if outcome == "hit" else 0.0
        draft = Draft(outcome, saved, replying.tokens, now - replying.asked if replying.asked else 0.0)
        self.ledger.entered(draft)
        self._tap.count("speculation_total", outcome=outcome)
        if outcome == "hit":
            self._tap.observe("speculation_saved_seconds", saved, outcome=outcome)
        else:
            self._tap.count("llm_tokens_total", draft.tokens, kind="speculative_wasted")
            self._tap.count("speculation_wasted_seconds_total", draft.seconds, outcome=outcome)
        _log.info("a reply begun early", extra={"session": self._protocol.session_id, **draft.report()})

    def duck(self, turn: int) -> None:
        """Make a reply softer."""
        running = self._running[turn]
        running.replying.playout.duck()
        self._outbox.tell(self._protocol.interjection(running.response_id, "ducked"))

    def hold(self, turn: int) -> None:
        """Fade a reply out, and wait."""
        running = self._running[turn]
        if fade := running.replying.playout.hold():
            self._outbox.offer(running.writer.audio(fade.samples))
        self._outbox.tell(self._protocol.interjection(running.response_id, "held"))

    def resume(self, turn: int) -> None:
        """Let a reply go on at full volume."""
        running = self._running[turn]
        running.replying.playout.resume()
        self._outbox.tell(self._protocol.interjection(running.response_id, "restored"))

    def abort(self, turn: int, reason: Reason, heard: str) -> None:
        """Stop a reply: its engines, its audio on the way out, and its response, of which `heard` stays."""
        running = self._running.pop(turn)
        running.scope.cancel()
        self._outbox.take_back(turn)
        self._outbox.tell(running.writer.done("cancelled", reason=reason, heard=heard))

    def finish(self, turn: int, usage: Usage, fault: str) -> None:
        """Tell that a reply is over."""
        running = self._running.pop(turn)
        writer = running.writer
        if running.told and usage.completion:
            self._outbox.tell(self._protocol.timeline(running.told | {"llm": usage.report()}))
        if running.timeline and not running.replying.playout.sent:
            self.ledger.turned()  # an answer in text has no timeline to be told in
        if running.replying.playout.sent:
            self._tap.observe("playout_gap_seconds", running.replying.playout.gaps)
        if fault:
            frames = writer.done("failed", usage=usage, fault=fault)
        elif usage.finish == "length":
            frames = writer.done("incomplete", reason="max_output_tokens", usage=usage)
        else:
            frames = writer.done(usage=usage)
        self._outbox.tell(frames)

    def hang_up(self) -> None:
        """The caller is gone; settle the books."""
        for running in self._running.values():
            if running.draft and not running.replying.gate.is_set():
                self._enter(running, "lost")

    def _mark(self, turn: int, name: str) -> None:
        running = self._running.get(turn)
        if running is None:
            return
        now = anyio.current_time()
        if name == "tts_first_audio" and running.ready is None:
            running.ready = now
            if running.draft:
                self.ledger.ready(now - running.begun)
        timeline = running.timeline
        if timeline and timeline.mark(name, now) and name == "voice_to_voice":
            for mark, seconds in timeline.marks.items():
                self._tap.observe("turn_seconds", seconds, mark=mark)
            drafts = [draft.report() for draft in self.ledger.turned()]
            running.told = timeline.report(running.response_id) | {"drafts": drafts}
            self._outbox.tell(self._protocol.timeline(running.told))


@dataclass(frozen=True, slots=True)
class _Outlet:
    """Where one reply goes: into the conversation and to the client."""

    happened: Callable[[Spoken | Moved | ReplyDone], None]
    outbox: Outbox
    writer: ResponseWriter
    turn: int
    echo: Echo

    async def say(self, text: str, words: tuple[Word, ...]) -> None:
        self.happened(Spoken(self.turn, text, words))
        await self.outbox.send(self.writer.say(text))

    async def sound(self, audio: Audio) -> None:
        self.echo.played(audio)
        frames = self.writer.audio(audio.samples)
        await self.outbox.send(frames[:-1])
        await self.outbox.send(frames[-1:], self.turn)

    async def write(self, text: str) -> None:
        self.happened(Spoken(self.turn, text))
        await self.outbox.send(self.writer.text(text))

    async def call(self, call: ToolCall) -> None:
        await self.outbox.send(self.writer.tool_call(call, call.call_id))

    def moved(self, place: float, shift: float) -> None:
        self.happened(Moved(self.turn, place, shift))
