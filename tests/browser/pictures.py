"""Pictures of the voice client for the documentation: `python -m tests.browser.pictures docs/images`."""

import sys
import tempfile
from pathlib import Path

import anyio
import numpy as np

from streams.audio import Audio, silence
from streams.metrics import Prometheus
from tests.browser.chromium import DESKTOP, PHONE, RATE, Seat, launched, seated
from tests.live import CONFIG, Live, clip
from voice.models import Store
from voice.service import open_engines

SAYING = "lj-LJ001-0005.flac"
KEPT = {
    "idle-desktop-light",
    "speech-desktop-dark",
    "timing-desktop-light",
    "timing-desktop-dark",
    "settings-desktop-light",
    "idle-phone-dark",
    "answer-phone-light",
    "speech-phone-light",
    "timing-phone-light",
    "timing-phone-dark",
    "lost-phone-light",
}
"""What is seen of what, on what screen, in what light."""


async def take(live: Live, folder: Path, size: tuple[int, int], scheme: str) -> None:
    """A conversation, with a picture of each thing a person may see."""
    name = f"{'phone' if size == PHONE else 'desktop'}-{scheme}"

    async def picture(seat: Seat, of: str) -> None:
        if f"{of}-{name}" in KEPT:
            await seat.page.screenshot(path=folder / f"talk-{of}-{name}.png", animations="disabled")

    question = clip("cv-common_voice_en_20005954.mp3", RATE).samples
    speech = [silence(1.5, RATE).samples, question, silence(14.0, RATE).samples, clip(SAYING, RATE).samples]
    with tempfile.TemporaryDirectory() as scratch:
        async with (
            live.serving() as place,
            launched(Path(scratch), Audio(np.concatenate(speech), RATE)) as browser,
            seated(browser, place, size=size, color_scheme=scheme, transport="websocket") as seat,
        ):
            await picture(seat, "idle")
            await seat.talk()
            await seat.state("Answering")
            await seat.page.wait_for_selector(".assistant .said:not(:empty)")
            await picture(seat, "answer")
            await seat.state("Hearing you")
            await seat.page.wait_for_selector(".user >> nth=1 >> .tentative:not(:empty)")
            await seat.page.wait_for_function("() => document.querySelectorAll('.user')[1].textContent.length > 60")
            await picture(seat, "speech")
            await seat.state("Answering")
            await seat.page.click("#timing-toggle")
            await seat.page.wait_for_function("() => document.querySelectorAll('.turn').length === 2")
            await picture(seat, "timing")
            await seat.page.click("#timing-toggle")
            await seat.page.click("#settings-open")
            await seat.page.wait_for_selector("dialog[open]")
            await picture(seat, "settings")
            await seat.page.keyboard.press("Escape")
            seat.break_off(place)
            await seat.page.wait_for_selector(".notice")
            await picture(seat, "lost")


async def main(folder: Path) -> None:
    """All of them."""
    metrics = Prometheus()
    async with open_engines(CONFIG, Store(CONFIG.models), metrics) as engines:
        for size in (DESKTOP, PHONE):
            for scheme in ("light", "dark"):
                await take(Live(engines, metrics), folder, size, scheme)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
