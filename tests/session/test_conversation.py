"""Whole conversations in virtual time."""

from contextlib import suppress

import numpy as np
import pytest

from streams.link import LinkClosed, SlowReader
from tests.session.scripted import call, sound_of, text_in
from voice.config import PhrasesConfig
from voice.engines import ContextOverflow
from voice.events import Prompt, Usage
from voice.history import Item

pytestmark = pytest.mark.anyio

PHRASES = PhrasesConfig()

TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def without_repeats(names: list[str]) -> list[str]:
    return [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]


def said(prompt: Prompt) -> list[tuple[str, str]]:
    """The prompt without instructions."""
    return [(message.role, message.text) for message in prompt.messages if message.role != "system"]


async def test_a_spoken_turn_is_heard_and_answered() -> None:
    async with call() as caller:
        await caller.send(caller.client.update(audio={"input": {"transcription": {"model": "rejoinder"}}}))
        await caller.say("what time is it")
        stopped = caller.times("session.updated")[0] + 4 * 0.25 - 0.05
        await caller.answered()
        [utterance] = caller.seen.utterances.values()
        assert utterance.transcript == "what time is it"
        assert utterance.text.split() == ["what", "time", "is", "it"], "deltas add up"
        assert caller.replies == ["you said what time is it"]
        [reply] = caller.seen.replies.values()
        assert reply.status == "completed"
        assert reply.usage
        assert reply.usage.input_tokens == 10
        waited = caller.times("response.output_audio.delta")[0] - stopped
        assert 0.5 <= waited < 0.6, "the answer was ready behind the gate when the silence was long enough"


async def test_the_events_of_a_turn_come_in_order() -> None:
    async with call() as caller:
        await caller.say("hello there friend")
        await caller.answered()
        spoken = [name for name in caller.types() if not name.startswith("session.")]
        assert without_repeats(spoken) == TURN


async def test_an_answer_is_sent_hardly_faster_than_it_sounds() -> None:
    async with call(lambda prompt: "one two three four five six seven eight nine ten eleven twelve.") as caller:
        await caller.say("count please now")
        await caller.answered()
        deltas = caller.times("response.output_audio.delta")
        sent = len(deltas) * 0.04
        assert sent == pytest.approx(12 * 0.25, abs=0.05)
        assert deltas[-1] - deltas[0] >= sent - 0.3


async def test_the_callers_voice_stops_the_answer_and_only_what_was_heard_is_remembered() -> None:
    async with call(lambda prompt: "one two three four five six seven eight nine ten eleven twelve.") as caller:
        await caller.say("count please now")
        await caller.until(lambda: caller.times("response.output_audio.delta"))
        await caller.quiet(1.0)
        await caller.say("stop stop stop")
        onset = caller.times("input_audio_buffer.speech_started")[1]
        assert all(at <= onset for at in caller.times("response.output_audio.delta")[:-1])
        first = next(iter(caller.seen.replies.values()))
        assert (first.status, first.reason) == ("cancelled", "turn_detected")
        await caller.until(lambda: len(caller.llm.prompts) > 1)
        heard = said(caller.llm.prompts[-1])[1][1]
        sounded = onset - caller.times("response.output_audio.delta")[0]
        assert len(heard.split()) == sum(n * 0.25 + 0.1 <= sounded for n in range(12))
        assert first.text == heard
        assert text_in(first.audio.samples).startswith(heard)


async def test_a_pause_in_mid_sentence_is_not_the_end() -> None:
    async with call() as caller:
        await caller.say("tell me about")
        await caller.quiet(0.35)
        await caller.say("the weather today")
        await caller.answered()
        assert caller.replies == ["you said tell me about the weather today"]
        assert len(caller.llm.prompts) == 2, "one was begun in the pause and taken back"
        assert len(caller.seen.replies) == 1, "and nobody heard of it"
        assert said(caller.llm.prompts[1]) == [("user", "tell me about the weather today")]


async def test_sound_without_words_is_not_answered() -> None:
    async with call() as caller:
        await caller.play(np.full(2400, 32_000, np.int16))
        await caller.quiet(3.0)
        await caller.play(np.full(900, 32_000, np.int16))
        await caller.quiet(3.0)
        assert not caller.seen.replies
        assert not caller.llm.prompts


async def test_a_turn_ends_even_when_no_more_packets_come() -> None:
    async with call() as caller:
        await caller.say("are you there")
        await caller.wait(lambda: "response.done" in caller.types())
        assert caller.replies == ["you said are you there"]


async def test_a_clip_sent_at_once_is_heard_as_one_in_real_time() -> None:
    async with call() as caller:
        sound = np.concatenate([np.zeros(24000, np.int16), sound_of("all of it at once"), np.zeros(24000, np.int16)])
        await caller.send(caller.client.append(sound))
        await caller.answered()
        assert caller.replies == ["you said all of it at once"]


async def test_manual_turns() -> None:
    async with call() as caller:
        await caller.send(caller.client.update(audio={"input": {"turn_detection": None}}))
        await caller.say("push to talk")
        await caller.quiet(2.0)
        assert "input_audio_buffer.committed" not in caller.types()
        await caller.send(caller.client.commit())
        await caller.send(caller.client.respond())
        await caller.answered()
        assert caller.replies == ["you said push to talk"]
        await caller.send(caller.client.commit())
        await caller.send(caller.client.commit())
        await caller.until(lambda: caller.seen.errors)
        assert caller.seen.errors[0].code == "input_audio_buffer_commit_empty"


async def test_typed_text_and_a_written_answer() -> None:
    async with call() as caller:
        await caller.write("hello in writing", output_modalities=["text"])
        await caller.answered()
        [reply] = caller.seen.replies.values()
        assert reply.text.strip() == "You said hello in writing."
        assert not reply.pieces
        assert "response.output_text.delta" in caller.types()


async def test_an_aside_leaves_no_trace_in_the_conversation() -> None:
    async with call() as caller:
        await caller.write("first", conversation="none", output_modalities=["text"], metadata={"topic": "aside"})
        await caller.answered()
        await caller.write("second", output_modalities=["text"])
        await caller.answered(2)
        aside = next(iter(caller.seen.replies.values()))
        assert aside.metadata == {"topic": "aside"}
        assert said(caller.llm.prompts[-1]) == [("user", "first"), ("user", "second")]


async def test_a_function_call_goes_to_the_client_and_its_output_to_the_model() -> None:
    async with call(lambda prompt: "It rains." if prompt.messages[-1].role == "tool" else "call:weather") as caller:
        await caller.write("weather please", output_modalities=["text"])
        await caller.answered()
        [reply] = caller.seen.replies.values()
        assert [(tool.name, tool.arguments) for tool in reply.calls] == [("weather", "{}")]
        output = Item("out1", "function_call_output", text="rain", call_id="call_1")
        await caller.send(caller.client.add(output))
        await caller.send(caller.client.respond(output_modalities=["text"]))
        await caller.answered(2)
        assert [message.role for message in caller.llm.prompts[-1].messages][-3:] == ["user", "assistant", "tool"]
        assert list(caller.seen.replies.values())[-1].text.strip() == "It rains."


async def test_the_client_cancels_and_says_what_was_heard() -> None:
    async with call(lambda prompt: "one two three four five six seven eight nine ten.") as caller:
        await caller.write("count")
        await caller.until(lambda: len(caller.times("response.output_audio.delta")) > 20)
        await caller.send(caller.client.cancel())
        await caller.answered()
        [reply] = caller.seen.replies.values()
        assert (reply.status, reply.reason) == ("cancelled", "client_cancelled")
        await caller.send(caller.client.truncate(reply.items[0], 500))
        await caller.until(lambda: "conversation.item.truncated" in caller.types())
        await caller.write("go on", output_modalities=["text"])
        await caller.answered(2)
        assert said(caller.llm.prompts[-1])[1] == ("assistant", "one two")


async def test_a_model_that_breaks_off_is_apologised_for_and_the_next_turn_works() -> None:
    async with call(lambda prompt: "one two three four five six seven eight nine ten.") as caller:
        caller.llm.breaks_after = 6
        await caller.say("first question here")
        await caller.answered()
        [reply] = caller.seen.replies.values()
        assert reply.status == "failed"
        assert "broke" in reply.error
        assert reply.text.endswith(f"{PHRASES.apology} ")
        caller.llm.breaks_after = None
        await caller.say("second question here")
        await caller.answered(2)
        assert caller.replies[-1] == "one two three four five six seven eight nine ten"


async def test_a_voice_that_breaks_fails_the_turn_and_not_the_session() -> None:
    async with call() as caller:
        caller.tts.fault = "no voice"
        await caller.say("first question here")
        await caller.answered()
        caller.tts.fault = ""
        await caller.say("second question here")
        await caller.answered(2)
        assert [reply.status for reply in caller.seen.replies.values()] == ["failed", "completed"]


async def test_a_recogniser_that_breaks_is_reported() -> None:
    async with call() as caller:
        await caller.send(caller.client.update(audio={"input": {"transcription": {"model": "rejoinder"}}}))
        caller.asr.fault = "no ears"
        await caller.say("first question here")
        await caller.until(lambda: "conversation.item.input_audio_transcription.failed" in caller.types())
        await caller.answered()
        caller.asr.fault = ""
        await caller.say("second question here")
        await caller.answered(2)
        assert caller.replies[1] == "you said second question here"
        assert next(iter(caller.seen.replies.values())).text.strip() == PHRASES.repair, "silence would say nothing"


async def test_an_empty_answer_is_met_with_a_question() -> None:
    async with call(lambda prompt: "") as caller:
        await caller.say("mumble mumble mumble")
        await caller.answered()
        [reply] = caller.seen.replies.values()
        assert reply.text.strip() == PHRASES.repair


async def test_a_prompt_too_long_is_shortened_from_its_old_end() -> None:
    def short_memory(prompt: Prompt) -> str:
        if len(prompt.messages) > 4:
            raise ContextOverflow("too long")
        return f"I got {prompt.messages[1].text}."

    async with call(short_memory) as caller:
        for n in range(10):
            await caller.send(caller.client.create_item(f"note {n}"))
        await caller.send(caller.client.respond(output_modalities=["text"]))
        await caller.answered()
        [reply] = caller.seen.replies.values()
        assert reply.status == "completed"
        assert said(caller.llm.prompts[-1])[-1] == ("user", "note 9")


async def test_interruptions_can_be_switched_off() -> None:
    async with call(lambda prompt: "one two three four five six seven eight nine ten.") as caller:
        detection = {"type": "server_vad", "interrupt_response": False}
        await caller.send(caller.client.update(audio={"input": {"turn_detection": detection}}))
        await caller.say("count please now")
        await caller.until(lambda: caller.times("response.output_audio.delta"))
        await caller.say("and more please")
        await caller.answered(2)
        assert [reply.status for reply in caller.seen.replies.values()] == ["completed", "completed"]
        assert caller.replies[0] == "one two three four five six seven eight nine ten"


async def test_captions_only() -> None:
    async with call(transcription=True, extensions=True) as caller:
        await caller.say("just write this down")
        await caller.until(lambda: "conversation.item.input_audio_transcription.completed" in caller.types())
        await caller.quiet(2.0)
        assert not caller.llm.prompts
        assert "rejoinder.transcript.tentative" in caller.types()


async def test_binary_audio_both_ways() -> None:
    async with call(binary=True, extensions=True) as caller:
        await caller.say("what time is it")
        await caller.answered()
        assert caller.replies == ["you said what time is it"]


async def test_the_timeline_of_a_turn_adds_up() -> None:
    async with call(extensions=True) as caller:
        await caller.say("what time is it")
        await caller.until(lambda: "rejoinder.turn.timeline" in caller.types())
        [timeline] = [event.timeline for _, event in caller.events if hasattr(event, "timeline")]
        total = timeline["marks_ms"]["voice_to_voice"]
        assert sum(span["ms"] for span in timeline["spans_ms"]) == pytest.approx(total, abs=1)
        [sounded] = [v for name, v, labels in caller.tap.calls if labels.get("mark") == "voice_to_voice"]
        assert sounded * 1000 == pytest.approx(total, abs=0.1)


async def test_the_timeline_is_told_again_with_the_models_tokens() -> None:
    async with call(extensions=True) as caller:
        caller.llm.usage = Usage(prompt=40, cached=30, accept_length=2.25, accept_rate=0.4375)
        await caller.say("what time is it")
        await caller.answered()
        first, last = (event.timeline for _, event in caller.events if hasattr(event, "timeline"))
        assert last == first | {
            "llm": {"prompt": 40, "cached": 30, "completion": 6, "accept_length": 2.25, "accept_rate": 0.44}
        }
        types = caller.types()
        assert types.index("response.output_audio.delta") < len(types) - 1 - types[::-1].index(
            "rejoinder.turn.timeline"
        )


async def test_a_client_that_does_not_read_is_let_go() -> None:
    async with call(listens=False) as caller:
        with suppress(LinkClosed):
            for n in range(1000):
                await caller.send(caller.client.create_item(f"note {n}"))
    assert isinstance(caller.ended, SlowReader)


async def test_bad_events_are_answered_and_a_flood_of_them_ends_the_session() -> None:
    async with call() as caller:
        await caller.send("{")
        await caller.send('{"type":"no.such.event","event_id":"mine"}')
        await caller.until(lambda: len(caller.seen.errors) == 2)
        assert caller.seen.errors[1].event_id == "mine"
        with suppress(LinkClosed):
            for _ in range(60):
                await caller.send("nonsense")
        assert "1008" in await caller.over()


async def test_a_server_that_leaves_lets_the_answer_end() -> None:
    async with call() as caller:
        await caller.say("last question now")
        await caller.until(lambda: caller.times("response.output_audio.delta"))
        caller.session.leave(1012, "restart")
        assert "1012" in await caller.over()
        assert caller.replies == ["you said last question now"]


async def test_a_server_that_leaves_a_session_that_is_just_over() -> None:
    async with call() as caller:
        await caller.say("a question")
    caller.session.leave(1012, "restart")
    assert "1000" in str(caller.ended), "it stays what it was: the caller's own goodbye"


async def test_the_audio_books_balance() -> None:
    async with call() as caller:
        await caller.quiet(1.0)
        await caller.say("one thing")
        await caller.quiet(1.5)
        await caller.say("and another thing")
    books: dict[str, float] = {}
    for name, amount, labels in caller.tap.calls:
        if name == "audio_seconds_total":
            books[labels["state"]] = books.get(labels["state"], 0.0) + amount
    assert books["received"] > 3.5
    assert books["received"] == pytest.approx(books["decoded"] + books["gated"] + books["dropped"], abs=1e-6)


async def test_a_slow_recogniser_does_not_hold_up_a_caller_who_speaks_in_real_time() -> None:
    async with call(extensions=True) as caller:
        caller.asr.seconds = 0.4
        await caller.say("one two three four five six seven eight nine ten eleven twelve one two three four")
        await caller.until(lambda: "rejoinder.turn.timeline" in caller.types())
        [timeline] = [event.timeline for _, event in caller.events if hasattr(event, "timeline")]
        assert timeline["marks_ms"]["endpoint"] == pytest.approx(500, abs=40), "every frame was read as it came"


async def test_settings_may_change_while_the_caller_speaks() -> None:
    async with call() as caller:
        await caller.say("what time is")
        await caller.send(caller.client.update(instructions="Be brief."))
        await caller.say("it now")
        await caller.send(
            caller.client.update(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.6}}})
        )
        await caller.answered()
        assert caller.replies == ["you said what time is it now"]
