"""The page is light, can be used by everybody, and does not jump about."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe

from tests.browser.chromium import DESKTOP, PHONE, Seat, launched, seated
from tests.live import Live

pytestmark = pytest.mark.anyio

HEAVIEST = 150_000  # bytes


async def grave(seat: Seat) -> list[str]:
    """What axe holds against the page as it is now."""
    results = await Axe().run(seat.page)
    found: list[dict[str, Any]] = results.response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(live: Live, tmp_path: Path, size: tuple[int, int], scheme: str) -> None:
    async with (
        live.serving() as place,
        launched(tmp_path) as browser,
        seated(browser, place, size=size, color_scheme=scheme, bypass_csp=True) as seat,
    ):
        assert await grave(seat) == []
        await seat.talk()
        await seat.type("Hello")
        await seat.state("Answering")
        assert await grave(seat) == []
        await seat.page.click("#timing-toggle")
        assert await grave(seat) == []
        await seat.page.click("#settings-open")
        assert await grave(seat) == []
        await seat.page.keyboard.press("Escape")
        await seat.page.evaluate("document.querySelector('#notice').textContent = ''")


async def test_the_page_is_light_and_asks_nobody_else(live: Live, tmp_path: Path) -> None:
    async with (
        live.serving() as place,
        launched(tmp_path) as browser,
        seated(browser, place) as seat,
    ):
        await seat.talk()
        assert 30_000 < sum(seat.weights.values()) < HEAVIEST
        assert seat.foreign == []
        assert seat.complaints == []


async def test_nothing_moves_when_a_call_begins(live: Live, tmp_path: Path) -> None:
    boxes = "JSON.stringify(document.getElementById(id).getBoundingClientRect())"
    places = f"['talk', 'typed', 'interrupt', 'state', 'scroll'].map(id => {boxes})"
    async with live.serving() as place, launched(tmp_path) as browser, seated(browser, place, size=PHONE) as seat:
        before = await seat.page.evaluate(places)
        await seat.talk()
        await seat.type("Hello")
        await seat.state("Answering")
        assert await seat.page.evaluate(places) == before


async def test_everything_is_reached_with_the_keyboard(live: Live, tmp_path: Path) -> None:
    async with live.serving() as place, launched(tmp_path) as browser, seated(browser, place) as seat:
        reached = []
        for _ in range(12):
            await seat.page.keyboard.press("Tab")
            reached.append(await seat.page.evaluate("document.activeElement.id"))
        assert {"timing-toggle", "settings-open", "talk", "typed"} <= set(reached)
        await seat.page.focus("#talk")
        await seat.page.keyboard.press("Enter")
        await seat.state("Listening")
