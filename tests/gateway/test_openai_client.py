"""The official client, unaware of us, against the whole server."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import numpy as np
import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter
from websockets.exceptions import ConnectionClosed

from streams.audio import Audio, join, silence
from tests.live import Live, Watching, clip, said, word_errors
from voice.config import AuthConfig

pytestmark = pytest.mark.anyio

KEY = "sk-sesame"
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
MANUAL = {"turn_detection": None, "transcription": {"model": "whisper-1"}}
STORY = "Tell me a long story about an old ship and its captain."


@dataclass
class Talk(Watching):
    """A connection of the official client and the events it brought."""

    line: AsyncRealtimeConnection
    events: list[Any] = field(default_factory=list)

    async def listen(self) -> None:
        try:
            async for event in self.line:
                self.events.append(event)
                self.changed.set()
        except ConnectionClosed:
            self.changed.set()

    def all(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    def one(self, kind: str) -> Any:
        (event,) = self.all(kind)
        return event

    async def next(self, kind: str) -> Any:
        """The first event of a kind that comes after this call."""
        known = len(self.all(kind))
        await self.until(lambda: len(self.all(kind)) > known)
        return self.all(kind)[known]

    async def update(self, **settings: Any) -> None:
        await self.line.session.update(session={"type": "realtime", **settings})
        await self.next("session.updated")

    async def add(self, text: str, **more: Any) -> Any:
        """Type something; the event that says it is in the conversation."""
        content = [{"type": "input_text", "text": text}]
        await self.line.conversation.item.create(item={"type": "message", "role": "user", "content": content}, **more)
        return await self.next("conversation.item.done")

    async def append(self, audio: Audio) -> None:
        """Send sound as fast as the server takes it."""
        for frame in audio.frames(2400):
            await self.line.input_audio_buffer.append(audio=base64.b64encode(frame.samples.tobytes()).decode())

    def sound(self, response_id: str) -> Audio:
        pieces = [
            np.frombuffer(base64.b64decode(event.delta), np.int16)
            for event in self.all("response.output_audio.delta")
            if event.response_id == response_id
        ]
        return Audio(np.concatenate(pieces), 24_000)


@asynccontextmanager
async def talking(live: Live) -> AsyncIterator[Talk]:
    """A call; what came is checked against the client's own types when it ends."""
    async with live.serving(auth=AuthConfig(keys=(KEY,))) as place:
        client = AsyncOpenAI(base_url=f"http://127.0.0.1:{place.port}/v1", api_key=KEY)
        dialled = client.realtime.connect(model="gpt-realtime", websocket_connection_options={"proxy": None})
        async with client, dialled as line, anyio.create_task_group() as tasks:
            talk = Talk(line)
            tasks.start_soon(talk.listen)
            await talk.until(lambda: talk.all("session.created"))
            yield talk
            await line.close()
    for event in talk.events:
        assert isinstance(event, BaseModel), event
        again = SERVER_EVENT.validate_python(event.to_dict())
        assert type(again) is type(event), event.type
        if not event.type.startswith("session."):  # the client types a session as one sends it, not as one gets it
            assert not event.model_extra, event


async def test_typed_and_answered_in_text(live: Live) -> None:
    async with talking(live) as talk:
        await talk.update(output_modalities=["text"], instructions="Be brief.")
        await talk.add("Hello there.")
        await talk.line.response.create()
        done = await talk.next("response.done")
        assert done.response.status in ("completed", "incomplete")
        assert done.response.usage.output_tokens > 0
        (item,) = done.response.output
        text = item.content[0].text
        assert text.strip()
        assert "".join(event.delta for event in talk.all("response.output_text.delta")) == text
        assert not talk.all("response.output_audio.delta")
        assert not talk.all("error")


async def test_spoken_and_answered_in_speech(live: Live) -> None:
    async with talking(live) as talk:
        await talk.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await talk.append(join([clip("lj-LJ001-0004.flac"), silence(1.5, 24_000)]))
        done = await talk.next("response.done")
        heard = talk.one("conversation.item.input_audio_transcription.completed")
        assert word_errors(said("lj-LJ001-0004.flac"), heard.transcript) < 0.15
        deltas = talk.all("conversation.item.input_audio_transcription.delta")
        assert "".join(event.delta for event in deltas).split() == heard.transcript.split()
        assert heard.item_id == talk.one("input_audio_buffer.committed").item_id
        (item,) = done.response.output
        assert item.content[0].transcript == talk.one("response.output_audio_transcript.done").transcript
        assert talk.sound(done.response.id).seconds > 0.5
        assert not talk.all("error")


async def test_cancelled_in_mid_answer_and_asked_again(live: Live) -> None:
    async with talking(live) as talk:
        await talk.add(STORY)
        await talk.line.response.create()
        await talk.until(lambda: len(talk.all("response.output_audio.delta")) > 20)
        await talk.line.response.cancel()
        done = await talk.next("response.done")
        assert done.response.status == "cancelled"
        assert done.response.status_details.reason == "client_cancelled"
        before = len(talk.all("response.output_audio.delta"))
        await talk.line.response.create(response={"output_modalities": ["text"]})
        again = await talk.next("response.done")
        assert again.response.status in ("completed", "incomplete")
        assert len(talk.all("response.output_audio.delta")) == before, "an answer that was cancelled went on"


async def test_truncated_to_what_was_heard(live: Live) -> None:
    async with talking(live) as talk:
        await talk.add(STORY)
        await talk.line.response.create()
        done = await talk.next("response.done")
        (item,) = done.response.output
        await talk.line.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=800)
        cut = await talk.next("conversation.item.truncated")
        assert (cut.item_id, cut.audio_end_ms) == (item.id, 800)
        await talk.line.conversation.item.retrieve(item_id=item.id)
        kept = (await talk.next("conversation.item.retrieved")).item.content[0].transcript
        assert item.content[0].transcript.startswith(kept)
        assert 0 < len(kept) < len(item.content[0].transcript)


async def test_items_come_and_go(live: Live) -> None:
    async with talking(live) as talk:
        first = (await talk.add("one")).item
        second = (await talk.add("two")).item
        between = await talk.add("between", previous_item_id=first.id)
        assert between.previous_item_id == first.id
        await talk.line.conversation.item.retrieve(item_id=second.id)
        retrieved = (await talk.next("conversation.item.retrieved")).item
        assert retrieved.content[0].text == "two"
        await talk.line.conversation.item.delete(item_id=second.id)
        assert (await talk.next("conversation.item.deleted")).item_id == second.id
        await talk.line.conversation.item.retrieve(item_id=second.id)
        assert (await talk.next("error")).error.code == "item_not_found"


async def test_turns_by_hand(live: Live) -> None:
    async with talking(live) as talk:
        await talk.update(output_modalities=["text"], audio={"input": MANUAL})
        await talk.append(clip("jfk.flac"))
        await talk.line.input_audio_buffer.commit()
        heard = await talk.next("conversation.item.input_audio_transcription.completed")
        assert word_errors(said("jfk.flac"), heard.transcript) < 0.15
        assert heard.usage.seconds == pytest.approx(clip("jfk.flac").seconds, abs=0.05)
        assert not talk.all("response.created"), "nobody asked for an answer"
        await talk.line.response.create()
        assert (await talk.next("response.done")).response.output[0].content[0].text
        await talk.append(clip("lj-LJ001-0002.flac"))
        await talk.line.input_audio_buffer.clear()
        await talk.next("input_audio_buffer.cleared")
        await talk.line.input_audio_buffer.commit()
        assert (await talk.next("error")).error.code == "input_audio_buffer_commit_empty"


async def test_out_of_band(live: Live) -> None:
    async with talking(live) as talk:
        await talk.add("My name is Ada.")
        asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say one word."}]}
        await talk.line.response.create(
            response={
                "conversation": "none",
                "metadata": {"topic": "aside"},
                "output_modalities": ["text"],
                "input": [asked],  # type: ignore[list-item]
            }
        )
        done = await talk.next("response.done")
        assert done.response.metadata == {"topic": "aside"}
        assert done.response.conversation_id is None
        assert done.response.output[0].content[0].text
        assert len(talk.all("conversation.item.added")) == 1, "an aside is in no conversation"


async def test_a_mistake_is_told_with_the_event_it_was_made_in(live: Live) -> None:
    async with talking(live) as talk:
        await talk.line.send({"type": "response.create", "event_id": "mine-1", "response": {"voise": "alloy"}})  # type: ignore[typeddict-item,typeddict-unknown-key]
        error = (await talk.next("error")).error
        assert error.event_id == "mine-1"
        assert error.param == "response.voise"
        assert error.type == "invalid_request_error"
        await talk.line.response.cancel(event_id="mine-2")
        error = (await talk.next("error")).error
        assert (error.event_id, error.code) == ("mine-2", "response_cancel_not_active")
        await talk.add("Still there?")
