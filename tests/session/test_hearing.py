"""What a caller is heard to say, and what hearing costs, however long and in whatever way it is said."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.audio import Audio
from streams.virtual import VirtualLoop
from tests.session.scripted import GAP, RATE, WORD, Call, ScriptedAsr, ScriptedTurn, ScriptedVad, call, sound_of
from tests.taps import Recorder
from voice.config import AsrConfig, Config, LimitsConfig, VadConfig
from voice.events import Recognised
from voice.listening import RATE as HEARD_RATE
from voice.listening import Heard, Listening

NAMES = [f"word{n}" for n in range(23)]  # so many that no place in a window looks like another
COMPLETED = "conversation.item.input_audio_transcription.completed"


@asynccontextmanager
async def dictating() -> AsyncIterator[Call]:
    """A caller who is only written down, and may go on for as long as there is breath."""
    config = Config(limits=LimitsConfig(utterance_seconds=3600))
    async with call(config=config, transcription=True, extensions=True) as caller:
        yield caller


def speech(seconds: float) -> list[str]:
    """As many words as take so long to say."""
    return [NAMES[n % len(NAMES)] for n in range(round(seconds / (WORD + GAP)))]


# However long ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("minutes", "row", "pause", "seconds", "each"),
    [
        pytest.param(10, 20, 0.0, 0.08, 0.0, id="breathless"),
        pytest.param(10, 12, 0.4, 0.15, 0.03, id="with pauses, by a slow engine"),
        pytest.param(4, 3, 0.25, 0.15, 0.03, id="halting, by a slow engine"),
    ],
)
async def test_a_monologue_costs_as_much_at_its_end_as_at_its_start(
    minutes: int, row: int, pause: float, seconds: float, each: float
) -> None:
    text = speech(minutes * 60)
    held: list[float] = []  # seconds of audio, after each row of words
    behind: list[int] = []  # words that are not promised yet
    async with dictating() as caller:
        caller.asr.seconds, caller.asr.each = seconds, each
        seen, now = 0, 0.0
        for n in range(0, len(text), row):
            await caller.say(" ".join(text[n : n + row]))
            for name, amount, labels in caller.tap.calls[seen:]:
                if name == "audio_seconds_total":
                    now += amount if labels["state"] == "received" else -amount
            seen = len(caller.tap.calls)
            held.append(now)
            promised = sum(len(utterance.text.split()) for utterance in caller.seen.utterances.values())
            behind.append(n + row - promised)
            await caller.quiet(pause)
        await caller.until(lambda: COMPLETED in caller.types())
    [utterance] = caller.seen.utterances.values()
    assert utterance.transcript == utterance.text == " ".join(text)
    for cost in (held, behind, [end - start for _, start, end in caller.asr.calls]):
        third = len(cost) // 3
        assert max(cost[-third:]) < 1.15 * max(cost[:third])
        assert sum(cost[-third:]) < 1.15 * sum(cost[:third]) + 1.15 * max(cost)


@pytest.mark.anyio
async def test_an_utterance_as_long_as_is_allowed_is_ended_and_the_next_one_begins_where_it_ended() -> None:
    text = speech(12)
    async with call(config=Config(limits=LimitsConfig(utterance_seconds=5)), transcription=True) as caller:
        await caller.say(" ".join(text))
        await caller.quiet(2.0)
    heard = [utterance.transcript or "" for utterance in caller.seen.utterances.values()]
    assert len(heard) == 3
    assert len(" ".join(heard).split()) == pytest.approx(len(text), abs=2), "two words are cut in two"


# In whatever way ------------------------------------------------------------------------------------------------

Stretch = tuple[int, float, bool]
"""So many words, so many seconds of silence, and whether the utterance is then taken to be over."""


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.1, 0.2, 0.3, 0.6, 1.5]), st.booleans()), max_size=8),
    st.sampled_from([0.02, 0.2, 0.8]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_what_is_told_is_never_older_than_what_was_told(script: list[Stretch], slowest: float, chance: Random) -> None:
    """Whatever each decode takes and mishears: newer text follows older, and what is promised stays to the end."""
    told: list[Recognised] = []

    class Unsteady(ScriptedAsr):
        async def transcribe(self, audio: Audio, **options: object) -> object:  # type: ignore[override]
            self.seconds = chance.uniform(0.01, slowest)
            return await super().transcribe(audio, **options)  # type: ignore[arg-type]

    def emit(event: Heard) -> None:
        if isinstance(event, Recognised):
            told.append(event)

    async def hear() -> None:
        asr = Unsteady()
        asr.slips = chance
        listening = Listening(
            ScriptedVad(), asr, AsrConfig(), "test", emit, Recorder(), turn=None, limit=60.0, ahead=30.0
        )
        listening.configure(VadConfig())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listening.run)
            opened = False
            for count, pause, over in script:
                sound = [
                    sound_of(" ".join(speech(count / 4)), HEARD_RATE),
                    np.zeros(round(pause * HEARD_RATE), np.int16),
                ]
                for part in Audio(np.concatenate(sound), HEARD_RATE).frames(320):
                    listening.push(part)
                    opened = opened or listening.speaking
                    await anyio.sleep(part.seconds)
                if over and opened:
                    listening.close()
                    opened = False
            await anyio.sleep(60.0)
            tasks.cancel_scope.cancel()

    anyio.run(hear, backend_options={"loop_factory": VirtualLoop})
    order = [(event.utterance, event.transcript.upto) for event in told]
    assert order == sorted(order)
    promised: dict[int, str] = {}
    for event in told:
        before, transcript = promised.get(event.utterance, ""), event.transcript
        assert transcript.stable.startswith(before)
        if not transcript.final:
            promised[event.utterance] = transcript.stable


# When packets do not come as they should ------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("turn", [None, ScriptedTurn(0.01), ScriptedTurn(0.99)], ids=["silence", "unsure", "sure"])
async def test_packets_that_stop_in_mid_word_end_the_turn(turn: ScriptedTurn | None) -> None:
    async with call(turn=turn) as caller:
        await caller.play(sound_of("what is the time")[: -round((GAP + WORD / 3) * RATE)])
        await caller.wait(lambda: "response.done" in caller.types())
        await caller.say("are you there")
        await caller.answered(2)
        assert caller.replies == ["you said what is the time", "you said are you there"]


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.0])
async def test_a_caller_who_is_made_to_wait_is_not_taken_to_be_silent(seconds: float) -> None:
    """A recogniser that falls behind holds the sender up; what was said meanwhile has yet to be read."""
    async with dictating() as caller:
        caller.asr.seconds = seconds
        await caller.say(" ".join(speech(8)))
        await caller.until(lambda: COMPLETED in caller.types())
        [utterance] = caller.seen.utterances.values()
        assert utterance.transcript == " ".join(speech(8))


@pytest.mark.anyio
async def test_short_stretches_of_speech_that_no_decode_keeps_up_with_are_heard_in_the_end() -> None:
    text = speech(12)
    async with dictating() as caller:
        caller.asr.seconds = 0.45
        for n in range(0, len(text), 2):
            await caller.say(" ".join(text[n : n + 2]))
            await caller.quiet(0.25)
        await caller.until(lambda: COMPLETED in caller.types())
        assert " ".join(utterance.transcript or "" for utterance in caller.seen.utterances.values()) == " ".join(text)
