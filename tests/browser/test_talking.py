"""Whole conversations through the page: spoken, heard, interrupted, muted, held."""

from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import expect

from streams.audio import Audio, resample, silence
from tests.browser.chromium import MICROPHONE, PATIENCE, RATE, Seat, launched, seated
from tests.live import Live, clip, said, word_errors
from voice.events import Priority
from voice.listening import RATE as HEARING

pytestmark = pytest.mark.anyio

SAYING = "lj-LJ001-0004.flac"
OTHER = "cv-common_voice_en_20005954.mp3"
LONG = "Tell me a long story about an old ship."
QUIET = 100  # of 32768, about -50 dBFS


def quiet(audio: Audio) -> bool:
    return bool(np.abs(audio.samples.astype(np.int32)).max(initial=0) <= QUIET)


async def recognised(live: Live, audio: Audio) -> str:
    """What a listener understands."""
    heard = await live.engines.asr.transcribe(resample(audio, HEARING), priority=Priority.FINAL, session="listener")
    return heard.text


def content(seat: Seat) -> None:
    """The browser has nothing to complain about, and no other host was asked for anything."""
    assert seat.complaints == []
    assert seat.foreign == []


@pytest.mark.parametrize("transport", ["websocket", "webrtc", "auto"])
async def test_what_is_said_is_understood_and_the_answer_is_heard(live: Live, tmp_path: Path, transport: str) -> None:
    sound = Audio(np.concatenate([silence(1.5, RATE).samples, clip(SAYING, RATE).samples]), RATE)
    async with (
        live.serving() as place,
        launched(tmp_path, sound) as browser,
        seated(browser, place, transport=transport) as seat,
    ):
        await seat.talk()
        if transport != "auto":
            await seat.see("#via", {"websocket": "WebSocket", "webrtc": "WebRTC"}[transport])
        await seat.state("Answering")
        await seat.state("Listening")
        await expect(seat.page.locator(".unsaid:not(:empty)")).to_have_count(0, timeout=PATIENCE)
        assert word_errors(said(SAYING), " ".join(await seat.said("user"))) < 0.25
        answer = " ".join(await seat.said("assistant"))
        assert word_errors(answer, await recognised(live, await seat.heard())) < 0.3
        await seat.page.click("#timing-toggle")
        await seat.see("#turns", "Audible")
        content(seat)


async def test_the_button_stops_an_answer(live: Live, tmp_path: Path) -> None:
    async with (
        live.serving() as place,
        launched(tmp_path) as browser,
        seated(browser, place, transport="websocket") as seat,
    ):
        await seat.talk()
        await seat.type(LONG)
        await seat.state("Answering")
        await seat.page.wait_for_selector(".assistant .said:not(:empty)")
        await seat.page.click("#interrupt")
        await seat.state("Listening")
        await seat.see(".assistant", "interrupted")
        await after_a_block(seat)
        first = await seat.blocks()
        await after_a_block(seat, 4)
        assert quiet(await seat.heard(first))
        content(seat)


async def after_a_block(seat: Seat, count: int = 2) -> None:
    """Wait until the recorder has seen what sounds now."""
    upto = await seat.blocks() + count
    await seat.page.wait_for_function("n => heard.length >= n", arg=upto)


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
async def test_a_voice_stops_an_answer_and_is_answered(live: Live, tmp_path: Path, transport: str) -> None:
    async with (
        live.serving() as place,
        launched(tmp_path) as browser,
        seated(browser, place, MICROPHONE, transport=transport) as seat,
    ):
        await seat.talk()
        await seat.type(LONG)
        await seat.state("Answering")
        await seat.say(OTHER)
        await seat.see(".assistant >> nth=0", "interrupted")
        await seat.page.wait_for_function("() => document.querySelectorAll('.assistant:not([hidden])').length === 2")
        assert word_errors(said(OTHER), (await seat.said("user"))[-1]) < 0.4
        content(seat)


async def test_a_muted_microphone_sends_silence(live: Live, tmp_path: Path) -> None:
    async with (
        live.serving() as place,
        launched(tmp_path) as browser,
        seated(browser, place, MICROPHONE, transport="websocket") as seat,
    ):
        await seat.talk()
        await seat.page.click("#talk")
        await seat.state("Muted")
        seat.sent.clear()
        await seat.say(SAYING)
        muted = np.frombuffer(b"".join(seat.sent[10:]), np.int16)
        assert len(muted) > 24_000
        assert not muted.any()
        await seat.page.click("#talk")
        seat.sent.clear()
        await seat.say(OTHER)
        assert np.frombuffer(b"".join(seat.sent), np.int16).any()
        await seat.state("Answering")
        assert len(await seat.said("user")) == 1
        content(seat)


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
async def test_a_turn_lasts_as_long_as_the_space_bar_is_held(live: Live, tmp_path: Path, transport: str) -> None:
    async with (
        live.serving() as place,
        launched(tmp_path) as browser,
        seated(browser, place, MICROPHONE, transport=transport, mode="hold") as seat,
    ):
        await seat.page.click("#talk")
        await seat.state("Hold to talk")
        seat.sent.clear()
        await after_a_block(seat)
        assert seat.sent == []
        await seat.page.keyboard.down(" ")
        await seat.state("Hearing you")
        await seat.say(SAYING)
        await seat.page.keyboard.up(" ")
        await seat.state("Answering")
        await seat.page.wait_for_function("() => !document.querySelector('.tentative:not(:empty)')")
        assert word_errors(said(SAYING), " ".join(await seat.said("user"))) < 0.25
        content(seat)
