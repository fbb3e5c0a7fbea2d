"""Calls in which somebody speaks over a long answer, and what was heard of it."""

from dataclasses import dataclass
from typing import Literal

import anyio

from loadtest.live import Echo, Live, calling
from loadtest.player import Client
from loadtest.sayings import Saying
from streams.audio import Audio
from voice.realtime import server_events as ev
from voice.realtime.shapes import MessageShape

PATIENCE = 4.0
"""Seconds after the end of an interruption within which it must have an effect."""
TRAILING = 0.5
"""Seconds for which a client may still have something to play after the answer's end."""
LONG, SHORT = 64, 28
"""Tokens of answers that last about 14 and 7 s."""
ALONE = 5.0
"""Seconds for which there is nothing but the echo."""
PLAYBACK = 0.1
"""Seconds between a client's reports of what has sounded."""
BUFFERED = 0.3
"""Seconds that a client which reports holds back before it plays."""

Cut = Literal["voice", "cancel"]
Report = Literal["nothing", "playback", "truncate"]


@dataclass(frozen=True)
class Over:
    """A voice or a noise over an answer. Times in seconds after its onset, by the name of the client where they differ.

    Attributes:
        cut: the answer ended by it.
        states: what the server made of it, and when.
        softer, silent: when the answer was heard softer, and last heard.
        broken: seconds for which the answer was interrupted and then went on.
        length: of the voice.
    """

    name: str
    group: str
    cut: bool
    states: list[tuple[str, float]]
    softer: dict[str, float]
    silent: dict[str, float]
    broken: float
    length: float
    said: str = ""

    def first(self, state: str) -> float | None:
        """When the server first took the voice so."""
        return next((at for name, at in self.states if name == state), None)


@dataclass(frozen=True)
class Echoed:
    """A turn with an echo.

    Attributes:
        cut: the echo ended the answer.
        ducked: how often the echo made the answer softer.
        stopped: what became of "stop, please" over it; None where there was no answer left.
    """

    late: float
    room: str
    cut: bool
    ducked: int
    stopped: Over | None


@dataclass(frozen=True, eq=False)
class Remembered:
    """What the conversation keeps of an answer that was cut.

    Attributes:
        history: the item's text.
        transcript: all words that were announced.
        audio: all sound that came.
        played: seconds of it that had sounded when the client stopped.
        repeated: it was held and taken up again, so that a word sounds twice.
    """

    cut: Cut
    report: Report
    history: str
    transcript: str
    audio: Audio
    played: float
    repeated: bool


async def talk_over(url: str, saying: Saying, number: int, after: float, tokens: int) -> Over:
    """Say something `after` seconds into an answer, and wait until that is cut, or over."""
    async with calling(url) as call:
        await call.ask(number, tokens)
        await call.sounds(after)
        return await _said(call, saying, PATIENCE if tokens == LONG else 30.0)


async def _said(call: Live, saying: Saying, patience: float) -> Over:
    onset = call.say(saying.samples) + saying.onset
    await call.until(lambda: call.over, saying.length + patience)
    await anyio.sleep(TRAILING)
    reply = call.reply
    cut = reply.status == "cancelled"
    last = {client.name: player.last_audible(reply.id) for client, player in call.players.items()}
    return Over(
        saying.name,
        saying.group,
        cut,
        [(state, at - onset) for state, at in call.states(onset - saying.onset)],
        {client.name: at - onset for client, at in call.softer.items()},
        {client: max(0.0, at - onset) for client, at in last.items() if at is not None} if cut else {},
        0.0 if cut else call.players[Client.API].breaks(reply.id, onset),
        saying.length,
        call.said,
    )


async def echoed(url: str, echo: Echo, room: str, stop: Saying, number: int) -> Echoed:
    """Hear an answer with its echo in the microphone for a while, and then say stop over both."""
    async with calling(url, echo) as call:
        await call.ask(number, LONG)
        await call.sounds(ALONE)
        states = [state for state, _ in call.states()]
        cut = call.reply.status == "cancelled" or "started" in states
        stopped = None if cut or call.over else await _said(call, stop, PATIENCE)
        return Echoed(echo.late, room, cut, states.count("ducked"), stopped)


async def remembered(url: str, cut: Cut, report: Report, stop: Saying, number: int, after: float) -> Remembered:
    """Cut an answer `after` seconds into it, and ask what is kept of it."""
    async with calling(url, latency=0.0 if report == "nothing" else BUFFERED) as call:
        player = call.players[Client.API]
        await call.ask(number, LONG)
        await call.sounds(player.latency)
        item = call.reply.items[0]
        async with anyio.create_task_group() as tasks:
            if report == "playback":
                tasks.start_soon(_report, call, item)
            await anyio.sleep(after)
            await _cut(call, cut, report, stop, item)
            tasks.cancel_scope.cancel()
        played = player.played(item, call.now)
        if report == "truncate":
            await call.send(call.client.truncate(item, round(played * 1000)))
        await call.send(call.client.retrieve(item))
        await call.until(lambda: _kept(call) is not None, PATIENCE)
        return Remembered(
            cut,
            report,
            _kept(call) or "",
            "".join(event.delta for _, event in call.events if isinstance(event, ev.TranscriptDelta)),
            call.reply.audio,
            played,
            any(state == "restored" for state, _ in call.states()),
        )


async def _cut(call: Live, cut: Cut, report: Report, stop: Saying, item: str) -> None:
    """Have the answer end, and the player stop."""
    if cut == "voice":
        call.say(stop.samples)
    else:
        call.players[Client.API].told(call.now, "started")
        if report == "playback":
            await _tell(call, item)
        await call.send(call.client.cancel())
    await call.until(lambda: call.over, stop.length + PATIENCE)


async def _report(call: Live, item: str) -> None:
    while True:
        await _tell(call, item)
        await anyio.sleep(PLAYBACK)


async def _tell(call: Live, item: str) -> None:
    played = call.players[Client.API].played(item, call.now)
    await call.send(call.client.playback(item, round(played * 1000)))


def _kept(call: Live) -> str | None:
    for _, event in call.events:
        if isinstance(event, ev.ItemRetrieved) and isinstance(event.item, MessageShape):
            return " ".join(str(part.transcript or part.text or "") for part in event.item.content)
    return None
