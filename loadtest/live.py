"""A call held in real time: a microphone that is always on, loudspeakers that play, and what happened when."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from loadtest.caller import FRAME, RATE
from loadtest.player import Client, Player
from streams.audio import Samples
from voice.realtime import server_events as ev
from voice.realtime.client import ClientSide, Event
from voice.realtime.codec import Format
from voice.realtime.conversation import Conversation, Reply

FLOOR = 10 ** (-60 / 20)
"""Noise of the microphone, root mean square of full scale."""
ECHO = 10 ** (-15 / 20)
"""How much softer the loudspeaker is at the microphone."""
TELL = (
    "You are a storyteller. Tell a long story of many sentences in plain words. Do not ask anything. Do not stop early."
)
TOPICS = ("the sea", "a lighthouse", "a garden", "two brothers", "a train", "a mountain", "an old clock", "a market")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Echo:
    """How the loudspeaker comes back into the microphone.

    Attributes:
        late: seconds.
        room: response of the room from the direct sound on, at `RATE`, of energy 1; [1.0] is a dry path.
    """

    late: float
    room: Floats = field(default_factory=lambda: np.ones(1))
    _spectra: dict[int, NDArray[np.complex128]] = field(default_factory=dict, init=False)

    def heard(self, player: Player, first: int, size: int) -> Floats:
        """What comes back in the `size` samples of the player's clock from `first` on."""
        end = first + size - round(self.late * RATE)
        played = player.sound(end - size - len(self.room) + 1, end)
        padded = 1 << (len(played) - 1).bit_length()
        wet = np.fft.irfft(np.fft.rfft(played, padded) * self._response(padded), padded)
        return ECHO * wet[len(self.room) - 1 : len(played)]

    def _response(self, padded: int) -> NDArray[np.complex128]:
        """The room's spectrum; computed once, for a microphone may not fall behind."""
        if padded not in self._spectra:
            self._spectra[padded] = np.fft.rfft(self.room, padded)
        return self._spectra[padded]


class Live:
    """One call; times are seconds since it began.

    Attributes:
        players: one of each kind of client, all hearing the same call; the echo comes from the first.
        events: what came, and when.
        softer: when the first sound came that the server had made softer; for each player when it sounded.
    """

    def __init__(self, socket: ClientConnection, echo: Echo | None, latency: float) -> None:
        self.players = {client: Player(client, latency) for client in Client}
        self.events: list[tuple[float, Event]] = []
        self.seen = Conversation()
        self.client = ClientSide()
        self.softer: dict[Client, float] = {}
        self._socket = socket
        self._echo = echo
        self._ducked = False
        self._begun = anyio.current_time()
        self._said = np.zeros(0)
        self._frame = 0  # the next to be sent
        self._news = anyio.Event()
        self._noise = np.random.default_rng(0)

    @property
    def now(self) -> float:
        """Seconds since the call began."""
        return anyio.current_time() - self._begun

    @property
    def reply(self) -> Reply:
        """The answer asked for. Raises LookupError before it began."""
        return next(iter(self.seen.replies.values()))

    async def send(self, frame: str | bytes) -> None:
        """Send an event."""
        await self._socket.send(frame)

    async def ask(self, number: int, tokens: int) -> None:
        """Ask for an answer of about a fifth as many seconds as `tokens`."""
        text = f"Tell me a long story about {TOPICS[number % len(TOPICS)]}."
        question = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self.send(self.client.respond(input=[question], instructions=TELL, max_output_tokens=tokens))

    async def sounds(self, seconds: float) -> None:
        """Wait until so much of the answer has sounded."""
        await self.until(lambda: bool(self.seen.replies and self.reply.pieces), 20.0)
        await anyio.sleep(seconds)

    def say(self, clip: Samples) -> float:
        """Have the microphone hear a clip at `RATE` from the next frame on; returns when that begins."""
        self._said = clip / 32768
        return self._frame * FRAME / RATE

    async def until(self, true: Callable[[], bool], patience: float) -> bool:
        """Wait until it is true of what has come; false if it is not after `patience` seconds."""
        with anyio.move_on_after(patience):
            while not true():
                await self._news.wait()
        return true()

    def states(self, since: float = 0.0) -> list[tuple[str, float]]:
        """What the server made of the voice over the answer, and when: "ducked", "held", "restored", "started"."""
        found: list[tuple[str, float]] = []
        for at, event in self.events:
            if isinstance(event, ev.Interjection):
                found.append((event.state, at))
            elif isinstance(event, ev.SpeechStarted):
                found.append(("started", at))
        return [(state, at) for state, at in found if at >= since]

    @property
    def said(self) -> str:
        """What the server has heard of the caller, as far as it tells."""
        tentative = [event.text for _, event in self.events if isinstance(event, ev.Tentative)]
        known = " ".join(said.transcript or said.text for said in self.seen.utterances.values()).strip()
        return known or " ".join(tentative[-1:])

    @property
    def over(self) -> bool:
        """The answer is over."""
        return self.reply.status != "in_progress"

    async def speak(self) -> None:
        """The microphone: a frame every 20 ms, sent when its last sample has been heard."""
        while True:
            await anyio.sleep_until(self._begun + (self._frame + 1) * FRAME / RATE)
            heard = self._noise.normal(0, FLOOR, FRAME)
            said, self._said = self._said[:FRAME], self._said[FRAME:]
            heard[: len(said)] += said
            if self._echo:
                heard += self._echo.heard(self.players[Client.API], self._frame * FRAME, FRAME)
            self._frame += 1
            await self.send(self.client.append((np.clip(heard, -1, 1) * 32767).astype(np.int16)))

    async def listen(self) -> None:
        """Everything that comes."""
        try:
            async for frame in self._socket:
                event, now = self.client.receive(frame), self.now
                self.seen.apply(event)
                self._play(event, now)
                self.events.append((now, event))
                self._news.set()
                self._news = anyio.Event()
        except ConnectionClosed:
            return

    def _play(self, event: Event, now: float) -> None:
        match event:
            case ev.AudioDelta():
                samples = Format.PCM.decode(event.delta)
                for client, player in self.players.items():
                    at = player.arrived(now, event.response_id, event.item_id, samples)
                    if self._ducked:
                        self.softer.setdefault(client, at)
            case ev.SpeechStarted():
                for player in self.players.values():
                    player.told(now, "started")
            case ev.Interjection():
                self._ducked = self._ducked or event.state == "ducked"
                for player in self.players.values():
                    player.told(now, event.state)
                if event.state == "ducked" and self.players[Client.EXTENDED].until > now:
                    self.softer.setdefault(Client.EXTENDED, now)
            case _:
                pass


@asynccontextmanager
async def calling(url: str, echo: Echo | None = None, latency: float = 0.0) -> AsyncIterator[Live]:
    """A call over the WebSocket at ws://host:port; it ends with the block.

    Args:
        echo: the loudspeaker comes back into the microphone.
        latency: seconds that the players hold back before they begin.
    """
    async with connect(f"{url}/v1/realtime?model=rejoinder&extensions=1", max_size=None) as socket:
        call = Live(socket, echo, latency)
        await call.send(call.client.update(audio={"input": {"transcription": {"model": "rejoinder"}}}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.listen)
            tasks.start_soon(call.speak)
            yield call
            tasks.cancel_scope.cancel()
