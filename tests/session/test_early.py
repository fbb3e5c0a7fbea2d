"""What is done before the caller has finished, and what becomes of callers who say nothing, or nothing clear."""

from collections import Counter
from itertools import pairwise

import anyio
import numpy as np
import pytest

from tests.session.scripted import Call, ScriptedTurn, call, sound_of
from voice.config import Config, EndpointConfig, LlmConfig, PhrasesConfig, SpeculationConfig
from voice.events import Hypothesis, Prompt
from voice.realtime import server_events as ev

pytestmark = pytest.mark.anyio

SENTENCE = "tell me what the weather will be like in the town tomorrow"
PHRASES = PhrasesConfig()


def asked(prompt: Prompt) -> str:
    return prompt.messages[-1].text


def ledger(caller: Call) -> Counter[str]:
    return Counter(labels["outcome"] for name, _, labels in caller.tap.calls if name == "speculation_total")


async def test_the_model_reads_along_while_the_caller_speaks() -> None:
    async with call() as caller:
        await caller.say(SENTENCE)
        read = [asked(prompt) for prompt in caller.llm.warmed]
        assert len(read) >= 3
        assert all(SENTENCE.startswith(text) for text in read[1:]), "the words so far, over and over"
        assert all(len(old) < len(new) for old, new in pairwise(read[1:]))
        await caller.answered()


async def test_the_conversation_so_far_is_read_when_the_caller_begins() -> None:
    async with call() as caller:
        await caller.say("first question here")
        await caller.answered()
        caller.llm.warmed.clear()
        await caller.say("second")
        earlier = [message.text for message in caller.llm.warmed[0].messages]
        assert earlier == ["first question here", "You said first question here."]


async def test_one_prompt_is_read_at_a_time_and_none_once_the_answer_is_wanted() -> None:
    async with call() as caller:
        await caller.quiet(0.5)
        caller.llm.first = 5.0
        await caller.say(SENTENCE)
        assert len(caller.llm.warmed) == 2, "the newest waits until the one before it is read"
        await caller.until(lambda: caller.llm.prompts)
        assert caller.llm.active == 1, "the answer alone"


async def test_reading_along_can_be_switched_off() -> None:
    async with call(config=Config(speculation=SpeculationConfig(prefill=False))) as caller:
        await caller.say(SENTENCE)
        await caller.answered()
        assert not caller.llm.warmed


async def test_what_was_begun_early_and_kept_is_in_the_books() -> None:
    async with call(extensions=True) as caller:
        await caller.say("what time is it")
        await caller.answered()
        assert ledger(caller) == {"hit": 1}
        [saved] = [value for name, value, _ in caller.tap.calls if name == "speculation_saved_seconds"]
        assert 0.1 < saved < 0.5
        timeline, *_ = [event.timeline for _, event in caller.events if isinstance(event, ev.Timeline)]
        [draft] = timeline["drafts"]
        assert draft["outcome"] == "hit"
        assert draft["saved_ms"] == pytest.approx(1000 * saved, abs=0.1)


async def test_what_was_begun_in_vain_is_in_the_books() -> None:
    async with call() as caller:
        await caller.say("tell me about")
        await caller.quiet(0.4)
        await caller.say("the weather today")
        await caller.answered()
        assert ledger(caller) == {"resumed": 1, "hit": 1}
        wasted = [
            value
            for name, value, labels in caller.tap.calls
            if name == "llm_tokens_total" and labels["kind"] == "speculative_wasted"
        ]
        assert sum(wasted) > 0


async def test_a_caller_who_hangs_up_leaves_no_entry_open() -> None:
    async with call() as caller:
        await caller.say("tell me about")
        await caller.quiet(0.4)
    assert ledger(caller) == {"lost": 1}


async def test_a_pause_that_will_be_long_is_not_answered_early() -> None:
    """The turn model takes it for a pause: the end is far, and there is time enough to begin later."""
    async with call(turn=ScriptedTurn(0.01)) as caller:
        await caller.send(caller.client.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}))
        await caller.say("so I think and")
        stopped = anyio.current_time() - 0.05
        await caller.until(lambda: caller.llm.prompts)
        begun = anyio.current_time() - stopped
        await caller.answered()
        sounded = caller.times("response.output_audio.delta")[0] - stopped
        assert begun > 0.5
        assert sounded - begun == pytest.approx(0.45, abs=0.05), "as early as it takes, and no earlier"
        assert ledger(caller) == {"hit": 1}


@pytest.mark.parametrize(("mode", "early"), [("on", True), ("off", False)])
async def test_early_replies_have_a_switch(mode: str, early: bool) -> None:
    async with call(config=Config(speculation=SpeculationConfig(replies=mode))) as caller:  # type: ignore[arg-type]
        await caller.say("what time is it")
        await caller.answered()
        assert ledger(caller) == ({"hit": 1} if early else {})
        assert caller.replies == ["you said what time is it"]


async def test_a_crowded_machine_begins_nothing_early_and_says_so_once() -> None:
    loads = [2.0, 1.2, 0.5, 1.2, 2.0]
    async with call(load=lambda: loads[0], extensions=True) as caller:
        for turn in range(1, 6):
            await caller.say("what time is it")
            await caller.answered(turn)
            assert caller.types().count("rejoinder.degraded") == (1 if turn < 5 else 2)
            assert bool(ledger(caller)) == (turn > 1)
            loads.pop(0)


async def test_a_caller_who_always_goes_on_is_soon_waited_for() -> None:
    async with call() as caller:
        for n in range(10):
            for _ in range(3):
                await caller.say("and then what")
                await caller.quiet(0.4)
            await caller.quiet(0.6)
            await caller.answered(n + 1)
        resumed = ledger(caller)["resumed"]
        assert 2 <= resumed < 15, "of the twenty there would have been"


# Who says nothing, or nothing clear -----------------------------------------------------------------------------


def detection(caller: Call, **settings: object) -> str:
    return caller.client.update(audio={"input": {"turn_detection": {"type": "server_vad", **settings}}})


async def test_a_caller_who_says_nothing_is_asked_once() -> None:
    async with call() as caller:
        await caller.send(detection(caller, idle_timeout_ms=3000))
        await caller.quiet(12.0)
        [reply] = caller.seen.replies.values()
        assert reply.text.strip() == PHRASES.idle
        assert not caller.llm.prompts
        names = [name for name in caller.types() if not name.startswith(("session.", "response."))]
        assert names[:4] == [
            "input_audio_buffer.timeout_triggered",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
        [silent] = [event for _, event in caller.events if isinstance(event, ev.TimeoutTriggered)]
        assert silent.audio_end_ms - silent.audio_start_ms == pytest.approx(3000, abs=50)
        await caller.say("here I am")
        await caller.answered(2)
        await caller.quiet(4.0)
        assert caller.types().count("input_audio_buffer.timeout_triggered") == 2, "and again after they have spoken"


async def test_the_time_counts_from_the_end_of_the_answer() -> None:
    long = "one two three four five six seven eight nine ten eleven twelve."
    async with call(lambda prompt: long) as caller:
        await caller.send(detection(caller, idle_timeout_ms=2000))
        await caller.say("count please now")
        await caller.answered()
        done = caller.times("response.done")[0]
        await caller.until(lambda: "input_audio_buffer.timeout_triggered" in caller.types())
        assert caller.times("input_audio_buffer.timeout_triggered")[0] - done == pytest.approx(2.0, abs=0.1)


async def test_the_model_may_find_the_words_for_it() -> None:
    config = Config(phrases=PhrasesConfig(idle=""), endpoint=EndpointConfig(idle_seconds=2.0))
    async with call(lambda prompt: "hello again.", config=config) as caller:
        await caller.quiet(4.0)
        assert caller.replies == ["hello again"]


async def test_nobody_is_asked_who_did_not_want_it() -> None:
    async with call() as caller:
        await caller.quiet(60.0)
        assert not caller.seen.replies


async def test_what_cannot_be_understood_is_asked_for_again_but_once() -> None:
    async with call() as caller:
        caller.asr.unclear = Hypothesis((), no_speech=0.05)
        for _ in range(2):
            await caller.say("mumble mumble mumble mumble")
            await caller.quiet(3.0)
        [reply] = caller.seen.replies.values()
        assert reply.text.strip() == PHRASES.repair
        assert not caller.llm.prompts
        caller.asr.unclear = None
        await caller.say("hello there friend")
        await caller.answered(2)
        assert caller.replies[1] == "you said hello there friend"
        assert [message.role for message in caller.llm.prompts[-1].messages] == ["assistant", "user"]


@pytest.mark.parametrize(("seconds", "no_speech"), [(0.4, 0.05), (2.0, 0.9)])
async def test_noise_is_not_asked_to_say_it_again(seconds: float, no_speech: float) -> None:
    async with call() as caller:
        caller.asr.unclear = Hypothesis((), no_speech=no_speech)
        await caller.play(np.full(round(seconds * 24_000), 30_000, np.int16))
        await caller.quiet(4.0)
        assert not caller.seen.replies


async def test_prompts_of_a_conversation_begin_alike() -> None:
    """Whatever was read once is in the engine's cache: no prompt may change what comes before its last message."""
    config = Config(llm=LlmConfig(context=4096))
    async with call(config=config) as caller:
        for n in range(4):
            await caller.play(sound_of(f"question number {['one', 'two', 'three', 'four'][n]}"))
            await caller.answered(n + 1)
        prompts = caller.llm.prompts
        for old, new in pairwise(prompts):
            assert new.messages[: len(old.messages)] == old.messages


async def test_a_function_call_of_a_withdrawn_reply_never_leaves() -> None:
    async with call(lambda prompt: "call:book" if asked(prompt) == "book it" else "done.") as caller:
        await caller.say("book it")
        await caller.quiet(0.4)
        await caller.say("not now")
        await caller.answered()
        await caller.quiet(2.0)
        assert [asked(prompt) for prompt in caller.llm.prompts] == ["book it", "book it not now"]
        assert not any("function_call" in name for name in caller.types())


async def test_a_timeline_tells_of_its_own_turns_drafts_alone() -> None:
    async with call(extensions=True) as caller:
        await caller.send(caller.client.update(output_modalities=["text"]))
        for n in range(3):
            await caller.say("what time is it")
            await caller.answered(n + 1)
        await caller.send(caller.client.update(output_modalities=["audio"]))
        await caller.say("what time is it")
        await caller.answered(4)
        timeline, *_ = [event.timeline for _, event in caller.events if isinstance(event, ev.Timeline)]
        assert len(timeline["drafts"]) == 1
        assert ledger(caller) == {"hit": 4}
