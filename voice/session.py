"""One caller: frames in, the dialog's decisions carried out, frames out. The only place that cancels a reply."""

import logging
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from streams.audio import Audio, Resampler, resample
from streams.clock import SampleClock
from streams.echo import Echo
from streams.link import Link, LinkClosed, SlowReader
from streams.tap import Tap
from voice import barging, commands, dialog, history
from voice.answering import OUTBOX, Answers, Engines, Outbox
from voice.captions import Publisher
from voice.config import Config
from voice.echo_guard import EchoGuard
from voice.engines import EngineError
from voice.events import Played, Priority, Recognised, SpeechStarted, SpeechStopped, Tick
from voice.history import Item, Items
from voice.listening import RATE, Heard, Listening
from voice.realtime import client_events as client
from voice.realtime.refused import Invalid
from voice.realtime.server import INVALID, ServerSide
from voice.realtime.shapes import new_id
from voice.state import State
from voice.telling import Telling
from voice.terms import detector, policy
from voice.timeline import Timeline

SLACK = 0.1
"""Seconds without packets after which the caller's stream is taken to go on in silence."""

WAITING_FRAME = 0.01
"""Seconds for a frame that is already here to be received before what is due happens; it may say otherwise."""

MIN_COMMIT = 0.1
"""Seconds of audio a client must have sent before it may commit."""

_log = logging.getLogger(__name__)


class Session:
    """A conversation over one link; `run` it until the caller leaves.

    Args:
        captions: where what the caller says is published.
    """

    def __init__(
        self,
        link: Link,
        protocol: ServerSide,
        engines: Engines,
        config: Config,
        tap: Tap,
        captions: Publisher | None = None,
    ) -> None:
        self.id = protocol.session_id
        self._link = link
        self._protocol = protocol
        self._engines = engines
        self._config = config
        self._tap = tap
        self._state = State(key=new_id("")[1:7])
        self._outbox = Outbox(config.limits.stalled_reader_seconds, tap, link.flush)
        self._telling = Telling(protocol, self._outbox, transcripts=config.logging.transcripts, captions=captions)
        self._clock = SampleClock(RATE)
        self._timeline: Timeline | None = None
        self._worded = -1  # utterance whose first words were timed last
        self._cause: str | None = None  # id of the client's event in hand
        self._goodbye: tuple[int, str] | None = None
        self._tasks: TaskGroup | None = None
        self._echo = Echo(RATE)
        self._silenced: float | None = None  # loop time at which the voice over an answer silenced it
        self._listening = Listening(
            EchoGuard(engines.vad, self._echo, tap) if config.playout.echo_guard else engines.vad,
            engines.asr,
            config.asr,
            self.id,
            self._heard,
            tap,
            turn=engines.turn,
            limit=config.limits.utterance_seconds,
            ahead=config.limits.audio_ahead_seconds,
        )
        self._resampler = Resampler(protocol.session.input_format.rate, RATE)
        self._configure()

    async def run(self) -> None:
        """Serve the caller until it leaves, is idle for too long, or its time is up.

        Raises:
            SlowReader: the client does not take what it is sent.
        """
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._answers = Answers(
                    tasks,
                    self._protocol,
                    self._engines,
                    self._config,
                    self._outbox,
                    self._happened,
                    self._echo,
                    self._tap,
                )
                tasks.start_soon(self._write)
                tasks.start_soon(self._listening.run)
                self._outbox.tell(self._protocol.created())
                if self._policy.answer:
                    self._answers.warm(())
                with anyio.move_on_after(self._config.limits.session_seconds) as leash:
                    await self._read()
                if leash.cancelled_caught:
                    await self._close_link(1000, f"the session's {self._config.limits.session_seconds:g} s are over")
                tasks.cancel_scope.cancel()
        except* LinkClosed as ended:
            if ended.subgroup(SlowReader):
                raise SlowReader(self._config.limits.stalled_reader_seconds) from None
        finally:
            self._tasks = None
            self._listening.hang_up()
            self._outbox.clear()
            self._answers.hang_up()

    @property
    def heard_seconds(self) -> float:
        """Seconds of the caller's audio so far."""
        return self._clock.position

    def lost(self, start: float, end: float, reason: str) -> None:
        """Tell the client that a stretch of its sound is silence here; seconds of the sound received."""
        self._outbox.tell(self._protocol.audio_gap(round(start * 1000), round(end * 1000), reason))

    def leave(self, code: int, reason: str, *, error: str | None = None) -> None:
        """End the session once the reply under way is over; `error` is the code of an event that says so at once."""
        self._goodbye = (code, reason)
        if error:
            self._outbox.tell(self._protocol.error(reason, type=INVALID, code=error))
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._goodbye and self._tasks and not self._state.reply and not self._state.asked:
            self._tasks.start_soon(self._close_link, *self._goodbye)
            self._goodbye = None

    async def _close_link(self, code: int, reason: str) -> None:
        """End the call once the client has been told all there is to tell."""
        self._outbox.tell(self._protocol.farewell(reason))
        await self._outbox.down_to(0)
        await self._link.close(code, reason)

    # The caller's frames ----------------------------------------------------------------------------------------

    async def _read(self) -> None:
        mistakes = 0
        last_frame = anyio.current_time()
        while mistakes < self._config.limits.bad_messages:
            await self._outbox.down_to(OUTBOX // 2)
            frame: str | bytes | None = None
            waiting = anyio.current_time() + WAITING_FRAME
            with anyio.CancelScope(deadline=max(self._next_deadline(last_frame), waiting)):
                frame = await self._link.receive()
            if frame is None:
                if anyio.current_time() >= last_frame + self._config.limits.idle_seconds:
                    return await self._close_link(1000, "nothing was sent for too long")
                self._time_passed()
                continue
            last_frame = anyio.current_time()
            try:
                event = self._protocol.receive(frame)
                self._cause = event.event_id
                await self._client_event(event)
                mistakes = 0
            except Invalid as error:
                mistakes += 1
                self._outbox.tell([error.frame])
            finally:
                self._cause = None
        return await self._close_link(1008, f"{mistakes} invalid events in a row")

    async def _client_event(self, event: client.Request) -> None:
        match event:
            case client.Append():
                await self._hear(event.audio)
            case client.Commit():
                if self._protocol.session.turn_detection is None and self._listening.held < MIN_COMMIT:
                    message = f"the input audio buffer holds less than {MIN_COMMIT * 1000:g} ms; append audio first"
                    self._refuse(message, "input_audio_buffer_commit_empty")
                else:
                    self._happened(commands.Commit(self._clock.position))
            case client.Clear():
                self._happened(commands.Clear())
            case client.OutputClear() if not self._protocol.media:
                self._refuse("output_audio_buffer.clear is for WebRTC; send response.cancel", "invalid_event")
            case client.OutputClear() if self._state.reply and not self._state.reply.gated:
                self._cancel(None)
            case client.AddItem():
                if len(self._state.items) >= self._config.limits.items:
                    message = f"the conversation holds {len(self._state.items)} items; delete some first"
                    self._refuse(message, "conversation_full")
                else:
                    self._happened(commands.Insert(await self._written(event.new), event.previous_item_id))
            case client.ItemRetrieve():
                self._retrieve(event.item_id)
            case client.ItemDelete():
                self._happened(commands.Delete(event.item_id))
            case client.ItemTruncate():
                self._happened(commands.Truncate(event.item_id, event.audio_end_ms / 1000))
            case client.Respond():
                await self._respond(event)
            case client.ResponseCancel():
                self._cancel(event.response_id)
            case client.Playback():
                reply = self._state.reply
                if reply and reply.item_id == event.item_id:
                    self._answers.reported(reply.turn, event.audio_ms / 1000)
                    self._note_played()
            case client.SessionUpdate():
                self._outbox.tell(self._protocol.update(event))
                self._configure()

    async def _hear(self, data: bytes) -> None:
        sound = self._protocol.session.input_format
        for piece in Audio(sound.decode(data), sound.rate).frames(sound.rate):
            audio = self._resampler.push(piece.samples)
            self._clock.arrived(len(audio.samples), anyio.current_time())
            self._note_played()
            self._listening.alert = barging.undecided(self._state)
            self._listening.push(audio)
            if not self._listening.rising:
                self._time_passed()
            await self._listening.room()
            await checkpoint()  # minutes in one event must not hold up other callers

    async def _written(self, new: client.NewItem) -> Item:
        """The item, its sound (if it has no text) recognised."""
        if new.audio is None or new.item.text:
            return new.item
        sound = self._protocol.session.input_format
        audio = resample(Audio(sound.decode(new.audio), sound.rate), RATE)
        try:
            hypothesis = await self._engines.asr.transcribe(
                audio, priority=Priority.FINAL, session=self.id, language=self._listening.language
            )
        except EngineError as error:
            self._refuse(str(error), "transcription_failed", "item.content")
            return new.item
        return history.with_text(new.item, hypothesis.text)

    async def _respond(self, event: client.Respond) -> None:
        items: Items | None = None
        try:
            if event.input is not None:
                known = self._state.items
                given = [history.find(known, n) if isinstance(n, str) else await self._written(n) for n in event.input]
                items = tuple(given)
        except history.UnknownItem as unknown:
            return self._refuse(f"no item {unknown} is in the conversation", "item_not_found", "response.input")
        return self._happened(commands.Ask(event, aside=not event.in_conversation, items=items))

    def _cancel(self, response_id: str | None) -> None:
        turn = self._answers.turn(response_id) if response_id else None
        if response_id and turn is None:
            return self._refuse(f"no response {response_id!r} is active", "response_cancel_not_active", "response_id")
        return self._happened(commands.Cancel(turn))

    def _retrieve(self, item_id: str) -> None:
        try:
            self._outbox.tell(self._protocol.item_retrieved(history.find(self._state.items, item_id)))
        except history.UnknownItem:
            self._refuse(f"no item {item_id!r} is in the conversation", "item_not_found", "item_id")

    def _configure(self) -> None:
        """Put the session's settings into force."""
        settings = self._protocol.session
        if self._resampler.source != settings.input_format.rate:
            self._resampler = Resampler(settings.input_format.rate, RATE)
        transcription = settings.transcription
        self._listening.language = (transcription and transcription.language) or self._config.asr.language
        self._listening.translate = transcription is not None and transcription.translate
        self._listening.configure(detector(settings, self._config))
        self._policy = policy(settings, self._config)

    # What happens -----------------------------------------------------------------------------------------------

    def _next_deadline(self, last_frame: float) -> float:
        """Loop time at which something is due even if no frame comes; a little later, for times are rounded."""
        due = last_frame + self._config.limits.idle_seconds
        if self._listening.speaking:
            due = min(due, self._clock.last_arrival + self._config.vad.starved_seconds)
        at = dialog.deadline(self._state, self._policy)
        if at is not None:
            due = min(due, self._clock.last_arrival + SLACK + max(0.0, at - self._clock.position))
        return due + 0.001

    def _time_passed(self) -> None:
        now = anyio.current_time()
        if self._listening.speaking and now >= self._clock.last_arrival + self._config.vad.starved_seconds:
            self._listening.starve()
        self._happened(Tick(self._clock.now(now, SLACK)))

    def _heard(self, event: Heard) -> None:
        """Note the time of what was heard, then act on it."""
        now = anyio.current_time()
        match event:
            case SpeechStarted(at):
                if self._timeline is None or self._state.utterance is None:
                    self._timeline = Timeline(onset=self._clock.when(at), origin=now)
                self._silenced = None
                self._note_played()
            case SpeechStopped(at) if self._timeline:
                self._timeline.paused(self._clock.when(at), now)
                self._telling.load(load := self._engines.load())
                self._policy = replace(self._policy, lead=self._answers.ledger.lead(load))
            case Recognised(utterance, transcript) if self._timeline and utterance == self._newest:
                if transcript.final:
                    self._timeline.mark("asr_final", now)
                elif (transcript.stable or transcript.tentative) and self._worded != utterance:
                    self._worded = utterance
                    self._tap.observe("turn_seconds", now - self._timeline.onset, mark="first_partial")
        self._happened(event)

    @property
    def _newest(self) -> int:
        """Number of the utterance that the caller began last."""
        return self._state.utterances - (self._state.utterance is None)

    def _note_played(self) -> None:
        reply = self._state.reply
        if reply and not reply.gated:
            self._happened(Played(reply.turn, self._answers.sounded(reply.turn)))

    def _happened(self, event: dialog.Event) -> None:
        """The dialog decides; its commands are carried out at once, in order."""
        speech = self._state.utterance
        over = speech is not None and speech.over is not None and isinstance(event, Tick | Recognised | SpeechStopped)
        if over or isinstance(event, commands.Cancel | commands.Commit):
            self._note_played()
        self._state, decided = dialog.step(self._state, event, self._policy)
        for command in decided:
            self._carry_out(command)
        self._leave_if_done()

    def _carry_out(self, command: commands.Command) -> None:
        match command:
            case commands.Closed():
                held = self._listening.held
                self._listening.close()
                if self._timeline:
                    self._timeline.mark("endpoint", anyio.current_time())
                self._telling.tell(command, held)
            case commands.Dropped():
                self._listening.clear()
                self._telling.tell(command)
            case commands.Ignored(meaning):
                self._listening.clear()
                self._tap.count("interjections_total", meaning=meaning)
            case commands.Warm(items):
                self._answers.warm(items)
            case commands.Begin():
                self._answers.begin(command, None if command.ask.request else self._timeline)
            case commands.Release(turn):
                self._answers.release(turn)
            case commands.Withdraw(turn, cause):
                self._answers.withdraw(turn, cause)
            case commands.Duck(turn):
                self._answers.duck(turn)
                self._observe_onset_to("barge_in_ducked")
            case commands.Hold(turn):
                self._answers.hold(turn)
                self._silenced = self._silenced or anyio.current_time()
            case commands.Resume(turn):
                self._answers.resume(turn)
            case commands.Abort(turn, reason, heard):
                self._answers.abort(turn, reason, heard.text if heard else "")
                if reason == "turn_detected":
                    self._observe_onset_to("barge_in_silent", self._silenced)
                    self._tap.count("interjections_total", meaning="interruption")
            case commands.Finish(turn, _, usage, fault):
                self._answers.finish(turn, usage, fault)
            case commands.Refuse(message, code, param):
                self._refuse(message, code, param)
            case _:
                self._telling.tell(command)

    def _observe_onset_to(self, mark: str, at: float | None = None) -> None:
        if self._timeline:
            self._tap.observe("turn_seconds", (at or anyio.current_time()) - self._timeline.onset, mark=mark)

    def _refuse(self, message: str, code: str, param: str | None = None) -> None:
        self._outbox.tell(self._protocol.error(message, type=INVALID, code=code, param=param, event_id=self._cause))

    async def _write(self) -> None:
        while True:
            await self._link.send(await self._outbox.receive())
