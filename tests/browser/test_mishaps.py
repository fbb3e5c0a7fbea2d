"""What goes wrong is said in words, with a remedy, and what can be repaired is."""

from pathlib import Path

import pytest

from tests.browser.chromium import launched, seated
from tests.live import Live
from voice.config import AuthConfig, LimitsConfig, ServerConfig

pytestmark = pytest.mark.anyio

KEY = "a-key-of-this-test-000000000000"


async def test_a_page_that_is_loaded_again_talks_again(live: Live, tmp_path: Path) -> None:
    async with live.serving() as place, launched(tmp_path) as browser, seated(browser, place) as seat:
        await seat.talk()
        await seat.page.reload()
        await seat.state("Ready")
        await seat.talk()
        await seat.type("Hello")
        await seat.state("Answering")
        assert seat.complaints == []


async def test_a_connection_that_breaks_is_made_again_and_the_conversation_goes_on(live: Live, tmp_path: Path) -> None:
    async with (
        live.serving() as place,
        launched(tmp_path) as browser,
        seated(browser, place, transport="websocket") as seat,
    ):
        await seat.talk()
        await seat.type("My name is Ada.")
        await seat.state("Answering")
        await seat.state("Listening")
        seat.break_off(place)
        await seat.state("Not connected")
        await seat.see("#notice", "by itself")
        await seat.state("Listening")
        await seat.see("#notice", "")
        await seat.type("What is my name?")
        await seat.state("Answering")
        told = [event for event in seat.events if "conversation.item.create" in event]
        assert sum("My name is Ada." in event for event in told) == 2, "once by its writer, once to the new session"
        assert await seat.said("user") == ["My name is Ada.", "What is my name?"]


async def test_a_server_that_restarts_is_waited_for(live: Live, tmp_path: Path) -> None:
    async with launched(tmp_path) as browser:
        async with live.serving() as place:
            port = place.port
            context = seated(browser, place, transport="websocket")
            seat = await context.__aenter__()
            await seat.talk()
        await seat.state("Not connected")
        await seat.see("#notice", "Next attempt in")
        async with live.serving(server=ServerConfig(port=port)):
            await seat.page.click("text=Try now")
            await seat.state("Listening")
            await context.__aexit__(None, None, None)


async def test_without_a_microphone_one_can_type(live: Live, tmp_path: Path) -> None:
    async with (
        live.serving() as place,
        launched(tmp_path, allowed=False) as browser,
        seated(browser, place) as seat,
    ):
        await seat.page.click("#talk")
        await seat.see("#notice", "The microphone is not allowed.")
        await seat.state("Ready")
        await seat.type("Hello")
        await seat.state("Answering")
        await seat.state("Typing only")


async def test_a_key_is_asked_for_and_kept_nowhere(live: Live, tmp_path: Path) -> None:
    auth = AuthConfig(mode="keys", keys=(KEY,))
    async with (
        live.serving(auth=auth) as place,
        launched(tmp_path) as browser,
        seated(browser, place) as seat,
    ):
        await seat.page.click("#talk")
        await seat.see("#key-dialog", "wants a key")
        await seat.page.fill("#key", "wrong")
        await seat.page.press("#key", "Enter")
        await seat.see("#key-title", "does not take this key")
        await seat.page.fill("#key", KEY)
        await seat.page.press("#key", "Enter")
        await seat.state("Listening")
        stored = await seat.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        assert KEY not in stored


async def test_a_server_that_is_full_says_so(live: Live, tmp_path: Path) -> None:
    async with live.serving(limits=LimitsConfig(sessions=1)) as place, launched(tmp_path) as browser:
        async with place.call(), seated(browser, place) as seat:
            await seat.page.click("#talk")
            await seat.see("#notice", "All lines are busy.")
            await seat.state("Ready")
        async with seated(browser, place) as seat:
            await seat.talk()
