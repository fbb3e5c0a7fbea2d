"""Captions in a real browser: the element on a page of another origin, and the page with its settings."""

import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from streams.audio import join, silence
from tests.browser.chromium import DESKTOP, PATIENCE, PHONE, launched
from tests.live import Live, Place, clip, said, word_errors
from voice.captions import Room
from voice.config import CaptionsConfig
from voice.events import Word

pytestmark = pytest.mark.anyio

CLIP = "lj-LJ001-0002.flac"
SPEECH = "It was written in a train. Nobody saw the envelope, and what was found is a sheet of paper, folded twice."


@contextmanager
def site(html: str) -> Iterator[str]:
    """A site of its own origin with one page; its address."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def embedding(place: Place, style: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><title>Lecture</title><style>{style}</style><h1>A lecture</h1>'
        f'<live-captions room="hall"></live-captions><p id="after">After it.</p>'
        f'<script src="http://127.0.0.1:{place.port}/embed.js"></script></html>'
    )


@asynccontextmanager
async def page_at(browser: Browser, url: str, size: tuple[int, int] = DESKTOP, **options: Any) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE)
    await page.goto(url)
    try:
        yield page
    finally:
        await context.close()


@contextmanager
def publishing(place: Place, language: str = "en") -> Iterator[Room]:
    with place.gateway.rooms.publish("hall"):
        room = place.gateway.rooms.find("hall")
        assert room
        room.language = language
        yield room


def say(room: Room, text: str, tentative: str = "") -> None:
    words = [Word(word, room.position + n, room.position + n + 0.5) for n, word in enumerate(text.split())]
    room.update(words, tentative)


async def grave(page: Page) -> list[str]:
    results = await Axe().run(page)
    found: list[dict[str, Any]] = results.response["violations"]
    return [f"{one['id']}: {one['nodes']}" for one in found if one["impact"] in ("serious", "critical")]


async def sees(page: Page, part: str, text: str) -> None:
    await expect(page.locator(f"live-captions .{part}")).to_contain_text(text, timeout=PATIENCE)


async def test_a_page_of_another_origin_shows_what_is_said(live: Live, tmp_path: Path) -> None:
    captions = CaptionsConfig(origins=("*",))
    async with live.serving(captions=captions) as place, launched(tmp_path) as browser:
        with site(embedding(place)) as url:
            async with page_at(browser, url) as page:
                await sees(page, "status", "Waiting for captions")
                async with place.call("intent=transcription&room=hall") as caller:
                    await caller.speak(
                        join([silence(0.5, 24_000), clip(CLIP)]),
                        lambda: [item for item in caller.seen.utterances.values() if item.transcript is not None],
                        speed=2,
                    )
                    await expect(page.locator("live-captions .done")).not_to_have_count(0, timeout=PATIENCE)
                shown = await page.locator("live-captions .committed").text_content()
                assert word_errors(said(CLIP), shown or "") < 0.2
                await sees(page, "status", "The speaker is away")


async def test_a_site_that_is_not_named_sees_nothing(live: Live, tmp_path: Path) -> None:
    async with live.serving() as place, launched(tmp_path) as browser:
        with publishing(place) as room, site(embedding(place)) as url:
            say(room, SPEECH)
            async with page_at(browser, url) as page:
                await sees(page, "status", "Connection lost")
                assert await page.locator("live-captions .committed").text_content() == ""


async def test_words_are_read_out_once_stand_still_and_survive_a_lost_connection(live: Live, tmp_path: Path) -> None:
    captions = CaptionsConfig(origins=("*",))
    async with live.serving(captions=captions) as place, launched(tmp_path) as browser:
        style = "live-captions { --captions-color: rgb(1, 2, 3) } live-captions::part(captions) { border: 3px solid }"
        with publishing(place) as room, site(embedding(place, style)) as url:
            async with page_at(browser, url, PHONE) as page:
                committed = page.locator("live-captions .committed")
                where = await page.locator("#after").bounding_box()
                await sees(page, "committed", "")
                await expect(committed).to_have_attribute("aria-live", "polite")
                await committed.evaluate(
                    """region => { window.added = []; new MutationObserver(changes => changes.forEach(change =>
                    change.addedNodes.forEach(node => added.push(node.textContent)))).observe(region,
                    { childList: true, subtree: true }); }"""
                )
                for n, word in enumerate(SPEECH.split()):
                    say(room, word, "perhaps" if n % 2 else "")
                    if n % 3 == 0:
                        await sees(page, "committed", word)
                await sees(page, "committed", "folded twice.")
                assert "perhaps" not in (await committed.text_content() or "")
                added = "".join(await page.evaluate("added")).split()
                assert sorted(added) == sorted(SPEECH.split())
                for connection in list(place.server.server_state.connections):
                    connection.transport.abort()  # type: ignore[union-attr]
                await sees(page, "status", "Connection lost")
                say(room, "Once more.")
                await sees(page, "committed", "Once more.")
                text = (await committed.text_content() or "").split()
                assert " ".join(text).count("Once more.") == 1
                assert await page.locator("#after").bounding_box() == where
                box = page.locator("live-captions .captions")
                assert await box.evaluate("box => getComputedStyle(box).color") == "rgb(1, 2, 3)"
                assert await box.evaluate("box => getComputedStyle(box).borderTopWidth") == "3px"


async def test_languages_that_run_from_right_to_left_do(live: Live, tmp_path: Path) -> None:
    async with live.serving() as place, launched(tmp_path) as browser:
        with publishing(place, "ar") as room:
            say(room, "مرحبا بكم.")
            async with page_at(browser, f"http://127.0.0.1:{place.port}/captions/hall") as page:
                await sees(page, "committed", "مرحبا")
                await expect(page.locator("live-captions .text")).to_have_attribute("dir", "rtl")
                await expect(page.locator("live-captions .text")).to_have_attribute("lang", "ar")


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_keeps_its_settings_and_everybody_can_use_it(
    live: Live, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    async with live.serving() as place, launched(tmp_path) as browser:
        with publishing(place) as room:
            for _ in range(30):
                say(room, SPEECH, "and so")
            url = f"http://127.0.0.1:{place.port}/captions/hall"
            async with page_at(browser, url, size, color_scheme=scheme, bypass_csp=True) as page:
                await sees(page, "tentative", "and so")
                await page.click("summary")
                assert await grave(page) == []
                await page.select_option("#contrast", "yellow")
                await page.select_option("#position", "bottom")
                await page.click("#larger")
                assert await grave(page) == []
                await page.reload()
                await sees(page, "tentative", "and so")
                assert await page.input_value("#contrast") == "yellow"
                assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"
                await expect(page.locator("live-captions .tentative")).to_be_in_viewport(timeout=PATIENCE)
                await page.click("summary")
                async with page.expect_download() as waiting:
                    await page.click("#srt")
                download = await waiting.value
                assert download.suggested_filename == "hall.srt"
                assert (await anyio.Path(await download.path()).read_text()).count("Nobody saw") == 30


async def test_the_page_asks_for_a_key_where_one_is_needed(live: Live, tmp_path: Path) -> None:
    async with live.serving(captions=CaptionsConfig(read_keys=("secret",))) as place, launched(tmp_path) as browser:
        with publishing(place) as room:
            say(room, SPEECH)
            async with page_at(browser, f"http://127.0.0.1:{place.port}/captions/hall") as page:
                await page.fill("#key", "wrong")
                await page.press("#key", "Enter")
                await expect(page.locator("#mistake")).to_have_text("This key is not valid here.", timeout=PATIENCE)
                await page.fill("#key", "secret")
                await page.press("#key", "Enter")
                await sees(page, "committed", "folded twice.")
                assert "secret" not in page.url
                assert "secret" not in await page.evaluate("JSON.stringify({ ...sessionStorage, ...localStorage })")
                assert (await page.request.get(await page.locator("#txt").evaluate("link => link.href"))).status == 200


async def test_a_player_shows_the_live_webvtt(live: Live, tmp_path: Path) -> None:
    captions = CaptionsConfig(origins=("*",))
    async with live.serving(captions=captions) as place, launched(tmp_path) as browser:
        track = f"http://127.0.0.1:{place.port}/v1/captions/hall.vtt"
        html = f'<video crossorigin="anonymous"><track default kind="captions" src="{track}"></video>'
        with publishing(place) as room, site(html) as url:
            say(room, SPEECH)
            async with page_at(browser, url) as page:
                script = "() => [...document.querySelector('track').track.cues || []].map(cue => cue.text).join(' ')"
                await page.wait_for_function(f"({script})().includes('folded twice.')")
                say(room, "And this came later.")
                await page.wait_for_function(f"({script})().includes('And this came later.')")
