"""One simulated caller: speaks a recording in real time over the WebSocket and takes the times of what comes back."""

from dataclasses import dataclass, field

import anyio
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streams.audio import Audio, resample, silence
from voice.realtime import server_events as ev
from voice.realtime.client import ClientSide, Event
from voice.realtime.codec import Format
from voice.realtime.conversation import Conversation

RATE = 24_000
FRAME = RATE // 50
AUDIBLE = 100
"""Of 32768, about -50 dBFS: what is softer is not heard on a call."""


@dataclass
class Call:
    """What one caller experienced; times in seconds of the event loop.

    Attributes:
        sent: when each frame of the caller's audio was sent.
        spoken: when the caller's last speech sample was sent, by the recording's own account.
        ended: where the server heard speech end, seconds into the audio.
        audible: when each audible piece of an answer arrived.
        created: when each response began.
        marks: the server's own timelines: name of a mark -> seconds after the end of speech.
        drafts: replies begun before the end of a turn, as its timeline tells.
    """

    sent: list[float] = field(default_factory=list)
    spoken: float = 0.0
    ended: list[float] = field(default_factory=list)
    audible: list[float] = field(default_factory=list)
    created: list[float] = field(default_factory=list)
    marks: list[dict[str, float]] = field(default_factory=list)
    drafts: list[dict[str, object]] = field(default_factory=list)
    seen: Conversation = field(default_factory=Conversation)

    def note(self, event: Event, at: float) -> None:
        """Enter an event that came at that time."""
        self.seen.apply(event)
        match event:
            case ev.SpeechStopped():
                self.ended.append(event.audio_end_ms / 1000)
            case ev.ResponseCreated():
                self.created.append(at)
            case ev.AudioDelta(delta=data) if np.abs(Format.PCM.decode(data)).max(initial=0) > AUDIBLE:
                self.audible.append(at)
            case ev.Timeline() if "llm" not in event.timeline:
                self.marks.append({name: ms / 1000 for name, ms in event.timeline["marks_ms"].items()})
                self.drafts += event.timeline["drafts"]
            case _:
                pass

    @property
    def waited(self) -> float | None:
        """Seconds from the end of speech to the first audible sample after it; None without an answer."""
        return next((at - self.spoken for at in self.audible if at > self.spoken), None)

    @property
    def disagreement(self) -> float | None:
        """Seconds by which the server's voice-to-voice differs from this stopwatch, for the same end of speech."""
        if not (self.ended and self.marks and self.waited):
            return None
        end = self.sent[min(int(self.ended[-1] * RATE / FRAME), len(self.sent) - 1)]
        heard = next(at for at in self.audible if at > self.spoken)
        return heard - end - self.marks[-1]["voice_to_voice"]

    @property
    def cut_off(self) -> bool:
        """An answer began before the caller had finished."""
        return any(at < self.spoken for at in self.created)

    @property
    def transcript(self) -> str:
        """All that was heard of the caller."""
        return " ".join(said.transcript or "" for said in self.seen.utterances.values()).strip()


async def speak(url: str, clip: Audio, offset: float, patience: float) -> Call:
    """Call, say the clip, and wait for the first audible sample of an answer.

    Args:
        url: ws://host:port
        clip: what to say.
        offset: seconds into the clip at which the speech ends.
        patience: seconds of silence sent after the clip before giving up.
    """
    call, client = Call(), ClientSide()
    address = f"{url}/v1/realtime?model=rejoinder&extensions=1"
    async with connect(address, max_size=None) as socket, anyio.create_task_group() as tasks:
        await socket.send(client.update(audio={"input": {"transcription": {"model": "rejoinder"}}}))
        tasks.start_soon(_listen, socket, client, call)
        await _say(socket, client, call, clip, offset, patience)
        tasks.cancel_scope.cancel()
    return call


async def _say(
    socket: ClientConnection, client: ClientSide, call: Call, clip: Audio, offset: float, patience: float
) -> None:
    sound = np.concatenate([resample(clip, RATE).samples, silence(patience, RATE).samples])
    begun = anyio.current_time()
    for first in range(0, len(sound), FRAME):
        await anyio.sleep_until(begun + (first + FRAME) / RATE)
        await socket.send(client.append(sound[first : first + FRAME]))
        call.sent.append(anyio.current_time())
        if not call.spoken and first + FRAME >= offset * RATE:
            call.spoken = anyio.current_time()
        if first / RATE > clip.seconds and call.waited is not None and call.marks:
            return


async def _listen(socket: ClientConnection, client: ClientSide, call: Call) -> None:
    try:
        async for frame in socket:
            call.note(client.receive(frame), anyio.current_time())
    except ConnectionClosed:
        return
