"""A caller's voice over an answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import numpy as np
import pytest

from streams.playout import DUCKED
from tests.session.scripted import GAP, WORD, Call, call, sound_of, text_in
from voice.realtime import server_events as ev

pytestmark = pytest.mark.anyio

COUNT = "one two three four five six seven eight nine ten eleven twelve."
COUGH = np.full(round(0.15 * 24_000), 32_000, np.int16)


@asynccontextmanager
async def answering(text: str = COUNT, seconds: float = 1.0) -> AsyncIterator[Call]:
    """A caller to whom this answer has sounded for so long."""
    async with call(lambda prompt: text, extensions=True) as caller:
        await caller.say("count please now")
        await caller.until(lambda: caller.times("response.output_audio.delta"))
        await caller.quiet(seconds)
        yield caller


async def over(caller: Call) -> None:
    await caller.answered()


def states(caller: Call) -> list[str]:
    return [event.state for _, event in caller.events if isinstance(event, ev.Interjection)]


def turned_out(caller: Call) -> list[str]:
    return [labels["meaning"] for name, _, labels in caller.tap.calls if name == "interjections_total"]


@pytest.mark.parametrize("said", ["uh-huh", "yeah", "okay", "oh wow", "yeah yeah"])
async def test_who_only_listens_aloud_does_not_stop_the_answer(said: str) -> None:
    async with answering() as caller:
        await caller.say(said)
        await over(caller)
        [reply] = caller.seen.replies.values()
        assert reply.status == "completed"
        assert len(reply.audio.samples) == len(sound_of(COUNT)), "nothing is lost, nothing comes twice"
        assert caller.types().count("input_audio_buffer.speech_started") == 1, "nobody is told of it"
        assert states(caller) == ["ducked", "restored"]
        assert turned_out(caller) == ["backchannel"]
        await caller.quiet(3.0)
        assert len(caller.llm.prompts) == 1, "and it is not answered"
        await caller.say("thank you friend")
        await caller.until(lambda: len(caller.llm.prompts) > 1)
        assert [message.text for message in caller.llm.prompts[-1].messages if message.role != "system"] == [
            "count please now",
            COUNT,
            "thank you friend",
        ]


async def test_the_answer_is_softer_under_a_voice() -> None:
    async with answering() as caller:
        await caller.play(COUGH)
        await over(caller)
        [reply] = caller.seen.replies.values()
        full, soft = sound_of(COUNT), reply.audio.samples
        share = soft[full > 0] / full[full > 0]
        assert share.min() == pytest.approx(DUCKED, abs=0.02)
        assert share[0] == share[-1] == 1
        assert turned_out(caller) == ["noise"]


async def test_an_interruption_silences_it_at_once() -> None:
    async with answering() as caller:
        before = caller.times("rejoinder.interjection")
        await caller.say("no tell me the time")
        onset = next(at for at in caller.times("rejoinder.interjection") if at not in before)
        [reply] = caller.seen.replies.values()
        assert (reply.status, reply.reason) == ("cancelled", "turn_detected")
        cut = caller.times("input_audio_buffer.speech_started")[1]
        assert cut - onset < 0.5
        assert all(at <= cut for at in caller.times("response.output_audio.delta"))
        assert abs(int(reply.audio.samples[-1])) <= 1, "it ends in a fade"
        assert turned_out(caller) == ["interruption"]
        await caller.until(lambda: len(caller.llm.prompts) > 1)
        assert caller.llm.prompts[-1].messages[-1].text == "no tell me the time", "all of it counts"


async def test_what_is_said_after_a_short_pause_belongs_to_what_came_before() -> None:
    async with answering() as caller:
        await caller.say("okay")
        await caller.quiet(0.4)
        assert states(caller) == ["ducked", "restored"]
        await caller.say("stop")
        await over(caller)
        await caller.until(lambda: len(caller.llm.prompts) > 1)
        assert caller.llm.prompts[-1].messages[-1].text == "okay stop"


async def test_a_click_as_the_answer_begins_does_not_end_it() -> None:
    click = np.full(round(0.05 * 24_000), 32_000, np.int16)
    async with answering(seconds=0.2) as caller:
        await caller.play(click)
        await caller.quiet(0.6)
        assert states(caller) == []
        await caller.play(click)
        await over(caller)
        assert states(caller) == ["ducked", "restored"], "later it is only softer"
        assert next(iter(caller.seen.replies.values())).status == "completed"


async def test_the_same_word_answers_a_question() -> None:
    async with answering("would you like to go on now?", 1.5) as caller:
        await caller.say("yes")
        await caller.until(lambda: len(caller.llm.prompts) > 1)
        assert caller.llm.prompts[-1].messages[-1].text == "yes"


async def test_words_that_come_back_from_the_loudspeaker_are_nobodys() -> None:
    async with answering() as caller:
        heard = text_in(next(iter(caller.seen.replies.values())).audio.samples).split()
        await caller.say(" ".join(heard[-3:]))
        await over(caller)
        assert next(iter(caller.seen.replies.values())).status == "completed"
        assert turned_out(caller) == ["echo"]


async def test_a_slow_recogniser_makes_the_answer_wait_and_go_on_at_a_word() -> None:
    async with answering() as caller:
        caller.asr.seconds = 1.0
        await caller.say("uh-huh uh-huh uh-huh")
        held = [at for at, event in caller.events if isinstance(event, ev.Interjection) and event.state == "held"]
        await over(caller)
        assert states(caller) == ["ducked", "held", "restored"]
        [reply] = caller.seen.replies.values()
        assert reply.status == "completed"
        after = [at for at in caller.times("response.output_audio.delta") if at > held[0]]
        assert after[1] - held[0] > 0.5, "it waited"
        again = text_in(reply.audio.samples[-round(3 * (WORD + GAP) * 24_000) :])
        assert again == "ten eleven twelve"
        repeated = len(reply.audio.samples) - len(sound_of(COUNT))
        assert 0 < repeated <= round((WORD + GAP + 0.08) * 24_000), "from the word it was held in"


async def test_what_was_heard_is_remembered_across_a_hold() -> None:
    async with answering() as caller:
        caller.asr.seconds = 1.0
        await caller.say("uh-huh uh-huh uh-huh")
        await caller.until(lambda: states(caller)[-1:] == ["restored"])
        caller.asr.seconds = 0.08
        await caller.quiet(0.6)
        await caller.say("stop")
        await caller.until(lambda: turned_out(caller)[-1:] == ["interruption"])
        [reply] = caller.seen.replies.values()
        assert reply.status == "cancelled"
        sounded = text_in(reply.audio.samples).split()
        heard = reply.text.split()
        assert heard
        assert heard[-1].strip(".") in sounded, "what was repeated counts once it sounds again"
        assert COUNT.startswith(reply.text)


async def test_a_voice_without_words_gives_the_answer_back_in_time() -> None:
    async with answering(" ".join([COUNT.strip(".")] * 3) + ".") as caller:
        caller.asr.seconds = 30.0
        await caller.say("uh-huh uh-huh uh-huh")
        silent = anyio.current_time()
        await caller.until(lambda: states(caller)[-1:] == ["restored"])
        assert anyio.current_time() - silent == pytest.approx(2.0, abs=0.1)


async def test_a_voice_at_the_very_beginning_takes_the_answer_back() -> None:
    async with answering(seconds=0.1) as caller:
        await caller.say("okay")
        await caller.answered()
        [reply] = caller.seen.replies.values()
        assert reply.status == "cancelled", "the caller had not finished"


async def test_the_client_takes_the_audio_back() -> None:
    async with answering() as caller:
        await caller.play(sound_of("stop")[: round(0.16 * 24_000)])
        await caller.until(lambda: states(caller) == ["ducked"])
        await caller.send(caller.client.clear())
        await over(caller)
        assert states(caller) == ["ducked", "restored"]
        assert next(iter(caller.seen.replies.values())).status == "completed"
