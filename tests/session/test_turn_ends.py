"""The turn model in a whole conversation, in virtual time."""

import pytest

from tests.session.scripted import Call, ScriptedTurn, call
from voice.endpoint import LEAST, Pauses, silence_needed

pytestmark = pytest.mark.anyio


async def endpoint(caller: Call, text: str = "what is the time") -> float:
    """Seconds from the end of speech to the end of the turn, once it is answered."""
    told = len([event for _, event in caller.events if hasattr(event, "timeline")])
    await caller.say(text)
    await caller.until(lambda: len([event for _, event in caller.events if hasattr(event, "timeline")]) > told)
    timeline = [event.timeline for _, event in caller.events if hasattr(event, "timeline")][-1]
    return float(timeline["marks_ms"]["endpoint"]) / 1000


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.999])
async def test_the_turn_ends_when_the_model_says(probability: float) -> None:
    turn = ScriptedTurn(probability)
    async with call(turn=turn, extensions=True) as caller:
        needed = silence_needed(probability, None, "", Pauses(), "auto")
        assert await endpoint(caller) == pytest.approx(needed, abs=0.04)
        assert turn.heard == ["what is the time"]


async def test_the_words_are_waited_for() -> None:
    async with call(turn=ScriptedTurn(0.5), extensions=True) as caller:
        needed = silence_needed(0.5, "the time and", "en", Pauses(), "auto")
        assert await endpoint(caller, "the time and") == pytest.approx(needed, abs=0.04)


async def test_each_eagerness_waits_as_long_as_it_says() -> None:
    waits = []
    for eagerness in ("high", "auto", "low"):
        async with call(turn=ScriptedTurn(0.1), extensions=True) as caller:
            detection = {"type": "semantic_vad", "eagerness": eagerness}
            await caller.send(caller.client.update(audio={"input": {"turn_detection": detection}}))
            waits.append(await endpoint(caller))
    assert LEAST < waits[0] < waits[1] < waits[2]


async def test_server_vad_keeps_the_clients_silence() -> None:
    async with call(turn=ScriptedTurn(0.01), extensions=True) as caller:
        detection = {"type": "server_vad", "silence_duration_ms": 300}
        await caller.send(caller.client.update(audio={"input": {"turn_detection": detection}}))
        assert await endpoint(caller) == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("faulty", [True, False], ids=["faulty", "late"])
async def test_without_an_opinion_in_time_the_silence_counts(faulty: bool) -> None:
    turn = ScriptedTurn(0.01, seconds=0.05 if faulty else 1.0)
    turn.fault = "broken" if faulty else ""
    async with call(turn=turn, extensions=True) as caller:
        assert await endpoint(caller) == pytest.approx(0.5, abs=0.04)
        assert "error" not in caller.types()


async def test_an_opinion_on_an_earlier_pause_is_not_taken_for_another() -> None:
    """The first pause is judged when the second has begun."""
    turn = ScriptedTurn(0.999, seconds=0.6)
    async with call(turn=turn, extensions=True) as caller:
        await caller.say("what is")
        await caller.quiet(0.3)
        assert await endpoint(caller, "the time") == pytest.approx(0.5, abs=0.04)
        assert len(caller.replies) == 1
