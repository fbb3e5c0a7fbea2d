"""In which language a caller is heard."""

import pytest

from streams.audio import Audio
from tests.session.scripted import Call, ScriptedAsr, call, sound_of
from voice.events import Hypothesis, Word
from voice.files import recognise, spoken

pytestmark = pytest.mark.anyio

LONG, SHORT = "un deux trois quatre cinq six sept huit neuf dix", "oui"


async def hear(caller: Call, text: str, detects: tuple[str, float]) -> str:
    """What the recogniser is told to take the caller to speak, after an utterance in which it detects that."""
    caller.asr.detects = detects
    name = "conversation.item.input_audio_transcription.completed"
    before = caller.types().count(name)
    await caller.say(text)
    await caller.until(lambda: caller.types().count(name) > before)
    await caller.say("so")
    await caller.until(lambda: caller.types().count(name) > before + 1)
    return caller.asr.told[-1][1]


async def set_up(caller: Call, **transcription: object) -> None:
    await caller.send(caller.client.update(type="transcription", audio={"input": {"transcription": transcription}}))
    await caller.until(lambda: "session.updated" in caller.types())


async def test_a_callers_language_lasts_until_another_is_clearly_heard() -> None:
    async with call(transcription=True) as caller:
        assert await hear(caller, SHORT, ("ja", 0.6)) == ""
        assert await hear(caller, LONG, ("fr", 0.95)) == "fr"
        assert await hear(caller, SHORT, ("ja", 0.9)) == "fr"
        assert await hear(caller, LONG, ("en", 0.6)) == "fr"
        assert await hear(caller, LONG, ("en", 0.95)) == "en"
        assert {language for language, _, _ in caller.asr.told} == {""}


async def test_a_language_that_is_given_is_what_the_recogniser_is_told() -> None:
    async with call(transcription=True) as caller:
        await set_up(caller, language="de")
        assert await hear(caller, LONG, ("fr", 0.99)) == ""
        assert set(caller.asr.told) == {("de", "", False)}


async def test_a_transcription_session_is_translated_when_it_asks_for_it() -> None:
    async with call(transcription=True) as caller:
        await set_up(caller, translate=True)
        assert await hear(caller, LONG, ("fr", 0.95)) == "fr"
        assert {translate for _, _, translate in caller.asr.told} == {True}


async def test_a_conversation_is_not_translated() -> None:
    async with call() as caller:
        await caller.send(caller.client.update(audio={"input": {"transcription": {"translate": True}}}))
        await caller.until(lambda: "error" in caller.types())
        await caller.say("hello there")
        await caller.answered()
        assert {translate for _, _, translate in caller.asr.told} == {False}


async def test_what_was_heard_in_the_wrong_language_is_heard_again() -> None:
    async with call(transcription=True) as caller:
        caller.asr.detects = ("ja", 0.6)
        await caller.say(LONG + " un deux trois")
        caller.asr.detects = ("fr", 0.98)
        await caller.say("et encore quatre cinq six sept huit")
        starts = [start for _, start, _ in caller.asr.calls]
        known = next(n for n, (_, likely, _) in enumerate(caller.asr.told) if likely == "fr")
        assert starts[known - 1] > starts[0]
        assert starts[known] == starts[0]
        assert starts[known + 1] > starts[0]


async def test_a_recordings_passages_share_what_is_known() -> None:
    asr = ScriptedAsr()
    asr.detects = ("fr", 0.95)
    passage = Audio(sound_of(LONG, 16000), 16000)
    assert [heard.text async for heard in recognise([passage, passage], asr, language="")] == [LONG, LONG]
    assert asr.told == [("", "", False), ("", "fr", False)]


def test_a_recordings_language_is_that_of_most_words() -> None:
    one, two = Word("oui", 0, 1), Word("non", 1, 2)
    assert spoken([Hypothesis((one,), "ja"), Hypothesis((), "de"), Hypothesis((one, two), "fr")], "") == "fr"
    assert (spoken([], "de"), spoken([Hypothesis((), "ja")], "")) == ("de", "en")
