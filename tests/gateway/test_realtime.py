"""Calls over real sockets with real models: an engine that dies, captions only, several at a time, and time limits."""

from pathlib import Path

import anyio
import msgspec
import psutil
import pytest

from streams.audio import join, resample, silence
from tests.live import CONFIG, PATIENCE, Caller, Live, clip, said, word_errors
from voice.config import LimitsConfig, PhrasesConfig
from voice.engines import llama_server
from voice.events import Priority
from voice.realtime.conversation import Reply

pytestmark = pytest.mark.anyio

STORY = "Tell me a very long story about an old ship and its captain."


def language_model() -> psutil.Process:
    """The child process that answers."""
    file = Path(llama_server.__file__).name
    (child,) = [process for process in psutil.Process().children(recursive=True) if file in " ".join(process.cmdline())]
    return child


async def answered_again(caller: Caller) -> Reply:
    """Ask until there is an answer."""
    with anyio.fail_after(PATIENCE):
        while True:
            reply = await caller.ask("Hello", output_modalities=["text"], max_output_tokens=20)
            if reply.status != "failed":
                return reply


async def test_the_language_model_dies_before_it_says_a_word(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    async with live.serving() as place, place.call() as caller:
        await caller.send(caller.client.create_item(STORY), caller.client.respond())
        await caller.until(lambda: "response.created" in caller.types())
        language_model().kill()
        await caller.until(lambda: "response.done" in caller.types())
        (reply,) = caller.replies
        assert reply.status == "failed"
        assert "try again" in reply.error
        assert reply.text.strip().endswith(PhrasesConfig().apology)
        heard = await live.engines.asr.transcribe(
            resample(reply.audio, 16_000), priority=Priority.FINAL, session="listener"
        )
        assert "try again in a moment" in heard.text.lower()
        assert (await answered_again(caller)).text.strip()
        assert caller.end is None
    assert not [record for record in caplog.records if record.exc_info]


async def test_the_language_model_dies_in_the_middle_of_an_answer(live: Live) -> None:
    llm = msgspec.structs.replace(CONFIG.llm, max_tokens=1500)
    async with live.serving(llm=llm) as place, place.call() as other, place.call() as caller:
        await answered_again(caller)
        await caller.send(caller.client.create_item(STORY), caller.client.respond(output_modalities=["text"]))
        await caller.until(lambda: len(caller.replies) > 1 and caller.replies[-1].text)
        language_model().kill()
        await caller.until(lambda: caller.replies[-1].status != "in_progress")
        assert caller.replies[-1].status == "failed"
        assert caller.replies[-1].text.strip()
        assert (await answered_again(other)).text.strip()
        assert (await answered_again(caller)).text.strip()


async def test_captions_only(live: Live) -> None:
    async with live.serving() as place, place.call("intent=transcription&extensions=1") as caller:
        sound = join([clip("lj-LJ001-0004.flac"), silence(1.5, 24_000), clip("lj-LJ001-0002.flac")])
        await caller.speak(
            sound,
            lambda: [item for item in caller.seen.utterances.values() if item.transcript is not None][1:],
            speed=3,
        )
        heard = " ".join(item.transcript or "" for item in caller.seen.utterances.values())
        assert word_errors(said("lj-LJ001-0004.flac") + " " + said("lj-LJ001-0002.flac"), heard) < 0.2
        assert not caller.replies
        assert not caller.seen.errors


async def test_callers_do_not_hear_each_other(live: Live) -> None:
    clips = ["lj-LJ001-0002.flac", "lj-LJ002-0035.flac", "lj-LJ001-0004.flac"]
    async with live.serving() as place:

        async def call(name: str) -> None:
            async with place.call() as caller:
                await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
                await caller.speak(clip(name), lambda: "response.done" in caller.types())
                heard = " ".join(item.transcript or "" for item in caller.seen.utterances.values())
                assert word_errors(said(name), heard) < 0.3, (name, heard)

        async with anyio.create_task_group() as tasks:
            for name in clips:
                tasks.start_soon(call, name)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (LimitsConfig(idle_seconds=0.3), "nothing was sent for too long"),
        (LimitsConfig(session_seconds=0.3), "the session's 0.3 s are over"),
    ],
    ids=["idle", "over"],
)
async def test_time_limits(live: Live, limits: LimitsConfig, reason: str) -> None:
    async with live.serving(limits=limits) as place, place.call() as caller:
        assert await caller.ended() == (1000, reason)
