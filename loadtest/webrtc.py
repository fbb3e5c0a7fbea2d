"""`python -m loadtest.webrtc`: what WebRTC adds to the WebSocket, what lost packets cost, what callers leave behind.

Starts a server of its own, says each clip over the WebSocket and over WebRTC, without and with lost packets, in turn,
so that all meet the same machine. Then calls come and go, half of them without a goodbye.
"""

import gc
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import anyio
import jiwer
import numpy as np
import psutil
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from whisper_normalizer.english import EnglishTextNormalizer

from loadtest import caller
from loadtest.bench import OWN_CLIPS, PATIENCE, Results, Sets, SpeechFolder, clips, pair, server
from loadtest.webrtc_caller import calling, longest_stall, over_http, speak, vanish
from voice.evaluation.manifest import Clip

LOSSES = (0.0, 0.01, 0.05)
TOGETHER = 4
SETTINGS = ("webrtc.lost_seconds=2", "limits.sessions=64", "webrtc.setups=64")


@dataclass(frozen=True)
class Row:
    """One clip said in one way; times in seconds.

    Attributes:
        waited: from the end of speech to sound.
        added: of it, what the server does not see: both ways of the sound.
        stall: longest time without a packet while the answer was awaited and sounded.
    """

    clip: str
    way: str
    waited: float | None
    cut_off: bool
    added: float | None
    stall: float
    transcript: str
    reference: str


def say(url: str, clip: Clip) -> Iterator[Row]:
    """Say a clip in every way."""
    offset = clip.offset or 0.0
    call = anyio.run(caller.speak, url, clip.audio(), offset, PATIENCE)
    yield Row(clip.id, "WebSocket", call.waited, call.cut_off, call.disagreement, 0.0, call.transcript, clip.transcript)
    for loss in LOSSES:
        call, line = anyio.run(speak, url.replace("ws:", "http:"), clip.audio(), offset, PATIENCE, loss)
        way, stall = f"WebRTC, {100 * loss:g} % lost", longest_stall(line, call.spoken)
        yield Row(clip.id, way, call.waited, call.cut_off, call.disagreement, stall, call.transcript, clip.transcript)


def show(rows: list[Row]) -> Table:
    """One column for each way."""
    ways = list(dict.fromkeys(row.way for row in rows))
    table = Table("", *ways, box=None, pad_edge=False)
    groups = [[row for row in rows if row.way == way] for way in ways]
    normal = EnglishTextNormalizer()
    fair = set.intersection(*({row.clip for row in group if row.waited and not row.cut_off} for group in groups))
    base = {row.clip: row.waited or 0.0 for row in groups[0]}
    waits = [[(row.clip, row.waited or 0.0) for row in group if row.clip in fair] for group in groups]
    table.add_row("clips", *(str(len(group)) for group in groups))
    table.add_row("answered and not cut off, in all ways", *(str(len(fair)) for _ in groups))
    table.add_row("end of speech -> sound, ms, p50 / p95", *(pair([at for _, at in wait]) for wait in waits))
    table.add_row("later than the WebSocket, ms", *(pair([at - base[clip] for clip, at in wait]) for wait in waits))
    added = [[row.added for row in group if row.clip in fair and row.added is not None] for group in groups]
    table.add_row("of it outside the server, ms", *map(pair, added))
    wers = [
        jiwer.wer([normal(row.reference) for row in group], [normal(row.transcript) for row in group])
        for group in groups
    ]
    table.add_row("word errors", *(f"{100 * wer:.1f} %" for wer in wers))
    table.add_row("longest stall, ms", *(f"{1000 * max(row.stall for row in group):.0f}" for group in groups))
    return table


async def visits(url: str, count: int) -> None:
    """Calls that come and go; every second one vanishes."""
    left = iter(range(count))

    async def visit() -> None:
        for number in left:
            async with calling(over_http(url, "model=rejoinder")) as line:
                await line.until(lambda line=line: line.events)  # type: ignore[misc]
                line.microphone.say(np.full(480, 1000, np.int16))
                await line.until(lambda line=line: len(line.heard) > 5)  # type: ignore[misc]
                if number % 2:
                    vanish(line)

    async with anyio.create_task_group() as tasks:
        for _ in range(TOGETHER):
            tasks.start_soon(visit)


@dataclass(frozen=True)
class Held:
    """What a server process holds."""

    threads: int
    files: int
    sockets: int
    megabytes: float


def held(process: psutil.Process) -> Held:
    """What it holds now."""
    sockets = len(process.net_connections(kind="inet"))
    return Held(process.num_threads(), process.num_fds(), sockets, process.memory_info().rss / 1e6)


async def settle() -> None:
    """Let the server notice who is gone."""
    await anyio.sleep(6.0)


def main(
    speech: SpeechFolder = OWN_CLIPS,
    most: Annotated[int, typer.Option(help="Clips.")] = 20,
    calls: Annotated[int, typer.Option(help="Calls that come and go.")] = 100,
    output: Results = None,
    sets: Sets = None,
) -> None:
    """Measure calls over WebRTC."""
    console = Console()
    with server(*SETTINGS, *(sets or [])) as url:
        found = track(clips(speech, {"speech"}, most), "speaking", console=console)
        rows = [row for clip in found for row in say(url, clip)]
        if rows:
            console.print(show(rows))
        process = next(child for child in psutil.Process().children() if url.rpartition(":")[2] in child.cmdline())
        table = Table("server", "threads", "open files", "sockets", "MB", box=None, pad_edge=False)
        books = {}
        for name, count in {"before": 0, "after 20 to warm up": 20, f"after {calls} more": calls}.items():
            anyio.run(visits, url.replace("ws:", "http:"), count)
            gc.collect()
            anyio.run(settle)
            books[name] = now = held(process)
            table.add_row(name, str(now.threads), str(now.files), str(now.sockets), f"{now.megabytes:.1f}")
        console.print(table)
    if output:
        held_then = {name: asdict(book) for name, book in books.items()}
        output.write_text(json.dumps({"speech": [asdict(row) for row in rows], "held": held_then}, indent=1))


if __name__ == "__main__":
    typer.run(main)
