"""Clips through live sessions: the code that answers callers, in memory, on virtual time or the machine's own."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import anyio

from streams.audio import Audio, join, silence
from streams.lane import Lane
from streams.link import LinkClosed, MemoryLink, memory_pair
from streams.tap import SILENT
from streams.virtual import VirtualLane, VirtualLoop
from voice.config import Config
from voice.evaluation.conditions import Condition
from voice.evaluation.engines import Ears, FinalsOnly, open_ears
from voice.evaluation.manifest import Clip
from voice.evaluation.spans import speech_spans
from voice.evaluation.take import Take
from voice.events import Recognised
from voice.listening import Heard
from voice.models import Store
from voice.realtime.client import ClientSide
from voice.realtime.codec import Format
from voice.realtime.server import ServerSide
from voice.realtime.settings import SessionDefaults
from voice.session import Session

FRAME = 0.02
"""Seconds of audio in one message."""
LEAD = 0.5
"""Seconds of background before a clip."""
TAIL = 1.0
"""Seconds of background after a clip; silence follows."""
PATIENCE = 12.0
"""Seconds of that silence within which an utterance ends, or never does."""
LINK_FRAMES = 256


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        settings: of each session, as `session.update` takes them under audio.input.
        callers: sessions at the same time.
        hearing: "finals" and "nothing" leave out the decodes that a figure does not need, to be quicker.
        real_time: on the machine's clock and threads, instead of virtual time.
    """

    config: Config
    clips: list[Clip]
    conditions: list[Condition]
    settings: dict[str, Any] = field(default_factory=dict)
    callers: int = 1
    hearing: Literal["all", "finals", "nothing"] = "all"
    real_time: bool = False

    @property
    def jobs(self) -> list[tuple[Clip, Condition]]:
        """What is to be played: each clip under each condition, those without speech once and as they are."""
        talk = [(clip, condition) for condition in self.conditions for clip in self.clips if clip.talks]
        return talk + [(clip, Condition()) for clip in self.clips if not clip.talks]


def play_all(plan: Plan, store: Store, advance: Callable[[Clip], None]) -> list[Take]:
    """Everything in the plan, in its order, but for languages the recogniser does not know.

    Args:
        advance: called after each clip.

    Raises:
        EngineError, ModelError, ManifestError: as the engines, the store and the clips do.
    """
    options: dict[str, Any] = {} if plan.real_time else {"loop_factory": VirtualLoop}
    return anyio.run(_play_all, plan, store, advance, backend_options=options)


async def _play_all(plan: Plan, store: Store, advance: Callable[[Clip], None]) -> list[Take]:
    takes: dict[int, Take] = {}
    async with open_ears(plan.config, store, Lane if plan.real_time else VirtualLane) as ears:
        known = ears.asr.languages
        jobs = enumerate(job for job in plan.jobs if not job[0].talks or job[0].language in known)
        asr = {"all": ears.asr, "finals": FinalsOnly(ears.asr), "nothing": FinalsOnly(None)}[plan.hearing]
        hearing = replace(ears, asr=asr)

        async def caller(number: int) -> None:
            await anyio.sleep(number / plan.callers)
            for n, (clip, condition) in jobs:
                takes[n] = await _play(plan, hearing, clip, condition)
                advance(clip)

        async with anyio.create_task_group() as callers:
            for number in range(plan.callers):
                callers.start_soon(caller, number)
    return [takes[n] for n in sorted(takes)]


async def _play(plan: Plan, ears: Ears, clip: Clip, condition: Condition) -> Take:
    """One clip, said by a caller to a session of its own."""
    clean = clip.audio()
    take = Take(clip, condition.name, clean.seconds)
    if clip.talks:
        _refer(take, ears, clean)
    sound = condition.sound(clip, clean, LEAD, TAIL)

    here, there = memory_pair(LINK_FRAMES, stalled_seconds=PATIENCE)
    defaults = session_defaults(plan.config, clip.language)
    protocol = ServerSide(defaults, transcription=True, extensions=True)
    call = _Call(take, here, anyio.current_time() + LEAD)
    session = _Observed(there, protocol, ears.watched(take), plan.config, SILENT)
    session.heard = call.heard
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_serve, session)
        tasks.start_soon(call.listen)
        try:
            await call.configure(clip, condition.format, plan.settings)
            await call.say(join([sound, silence(PATIENCE, sound.rate)]))
        except LinkClosed as closed:
            take.broken = str(closed)
        await here.close(1000, "that was all")
    ears.settle(session.id, take.spent)
    return take


def _refer(take: Take, ears: Ears, clean: Audio) -> None:
    """Note where the clip has speech: by its manifest, else by the voice detector in the clean recording."""
    spans = speech_spans(ears.vad, clean)
    clip = take.clip
    take.onset = spans[0][0] if clip.onset is None and spans else clip.onset
    take.offset = spans[-1][1] if clip.offset is None and spans else clip.offset
    take.pauses = tuple((end, start) for (_, end), (start, _) in pairwise(spans))


def session_defaults(config: Config, language: str) -> SessionDefaults:
    """What a session begins with, for a clip in that language."""
    return SessionDefaults(
        expires_at=0,
        voice=config.tts.voice,
        voices={},
        transcription_model=config.asr.model,
        languages=(language,),
        threshold=config.vad.threshold,
        prefix_padding_ms=round(config.vad.preroll_seconds * 1000),
        detection=config.endpoint.detection,
        silence_duration_ms=round(config.endpoint.silence_seconds * 1000),
    )


class _Observed(Session):
    """Tells also what a client learns only when the utterance is closed: that the last text is known."""

    heard: Callable[[Recognised], None]

    def _heard(self, event: Heard) -> None:
        super()._heard(event)
        if isinstance(event, Recognised):
            self.heard(event)


async def _serve(session: Session) -> None:
    try:
        await session.run()
    except LinkClosed:
        return


@dataclass
class _Call:
    """The client's side; `begun` is the loop time at which the clip's first sample is spoken."""

    take: Take
    link: MemoryLink
    begun: float
    client: ClientSide = field(default_factory=ClientSide)

    async def configure(self, clip: Clip, sound: Format, settings: dict[str, Any]) -> None:
        """Say what will be sent, and how it is to be heard."""
        told = {
            "format": {"type": sound.value},
            "transcription": {"language": clip.language if clip.talks else None},
            **settings,
        }
        await self.link.send(self.client.update(type="transcription", audio={"input": told}))

    async def say(self, sound: Audio) -> None:
        """Send in real time, each message once its last sample is spoken, until all is told or patience ends."""
        begun, size = self.begun - LEAD, round(FRAME * sound.rate)
        rest = LEAD + self.take.seconds + TAIL
        for piece in sound.frames(size):
            spoken = piece.end / sound.rate
            await anyio.sleep_until(begun + spoken)
            await self.link.send(self.client.append(piece.samples))
            if spoken > rest and self.take.over:
                return

    async def listen(self) -> None:
        """Take what the server sends, until the link ends."""
        try:
            while True:
                event = self.client.receive(await self.link.receive())
                self.take.told(event, anyio.current_time() - self.begun, LEAD)
        except LinkClosed:
            return

    def heard(self, event: Recognised) -> None:
        """The recogniser's text for an utterance."""
        if event.transcript.final:
            self.take.heard(event.utterance, anyio.current_time() - self.begun)
