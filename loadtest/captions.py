"""`python -m loadtest.captions`: how long a committed word takes to all readers of a room.

One process serves, with the real recogniser, and notes when words are committed; a second speaks clips into the room
in real time, over a WebSocket; a third reads, over a socket for each reader, and notes when events come. All clocks are
the machine's monotonic one.
"""

import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
import numpy as np
import typer

from streams.audio import Audio, join, read, resample, silence
from streams.metrics import Prometheus
from voice.app import Gateway, Server, listen
from voice.captioning import SERVER_RATE, feed
from voice.captions import Room
from voice.config import CaptionsConfig, Config, LlmConfig, ModelsConfig, ServerConfig
from voice.models import Store
from voice.service import open_engines

ROOM = "hall"
CLIPS = Path(__file__).parent.parent / "tests" / "data"


@dataclass
class Commits:
    """When words were committed: versions of the room, and times."""

    versions: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def watch(self, room: Room) -> None:
        """Note each commit of a room from now on."""
        update = room.update

        def noted(words: tuple[object, ...] = (), tentative: str = "", *, pause: bool = False) -> None:
            at = time.monotonic()
            update(words, tentative, pause=pause)  # type: ignore[arg-type]
            if words:
                self.versions.append(room.version)
                self.times.append(at)

        room.update = noted  # type: ignore[method-assign, assignment]


async def _read(port: int, seen: list[tuple[int, float]]) -> None:
    """One reader: versions, and when they came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/captions/{ROOM}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    while line := await reader.readline():
        if line.startswith(b"id: "):
            seen.append((int(line.rpartition(b"-")[2]), time.monotonic()))
        elif line.startswith(b"event: end"):
            break
    writer.close()


def read_all(port: int, readers: int, report: Connection) -> None:
    """All readers; reports what each saw."""

    async def run() -> list[list[tuple[int, float]]]:
        seen: list[list[tuple[int, float]]] = [[] for _ in range(readers)]
        async with anyio.create_task_group() as tasks:
            for each in seen:
                tasks.start_soon(_read, port, each)
                await anyio.sleep(0.002)
        return seen

    report.send(anyio.run(run, backend_options={"use_uvloop": True}))


def speak(port: int, seconds: float) -> None:
    """The speaker: clips with pauses, in real time."""

    async def pieces() -> AsyncIterator[Audio]:
        names = [entry["file"] for entry in map(json.loads, (CLIPS / "manifest.jsonl").read_text().splitlines())]
        clips = [resample(read(CLIPS / name), SERVER_RATE) for name in names if name.startswith("lj")]
        sound = join([piece for clip in clips for piece in (clip, silence(1.0, SERVER_RATE))])
        end = anyio.current_time() + seconds
        due = anyio.current_time()
        while due < end:
            for piece in sound.frames(SERVER_RATE // 50):
                due += piece.seconds
                await anyio.sleep_until(due)
                yield piece

    anyio.run(lambda: feed(pieces(), f"http://127.0.0.1:{port}", ROOM, ""))


async def measure(readers: int, seconds: float) -> dict[str, float]:
    """Serve, and let the others speak and read; figures in milliseconds."""
    config = Config(
        server=ServerConfig(port=0),
        models=ModelsConfig(dir=os.environ.get("REJOINDER__MODELS__DIR", "")),
        llm=LlmConfig(model="smollm2-135m"),
        captions=CaptionsConfig(readers=readers, linger_seconds=1.0),
    )
    metrics, commits = Prometheus(), Commits()
    spawned = multiprocessing.get_context("spawn")
    async with open_engines(config, Store(config.models), metrics) as engines:
        server = Server(Gateway(config, engines, metrics), metrics)
        rooms = server.gateway.rooms
        with listen(config.server) as listener:
            port = listener.getsockname()[1]
            mine, theirs = spawned.Pipe(duplex=False)
            speaker = spawned.Process(target=speak, args=(port, seconds), daemon=True)
            crowd = spawned.Process(target=read_all, args=(port, readers, theirs), daemon=True)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.serve, [listener])
                speaker.start()
                await _until(lambda: rooms.find(ROOM))
                room = rooms.find(ROOM)
                assert room
                commits.watch(room)
                crowd.start()
                await _until(lambda: rooms.readers == readers)
                began, spent = time.monotonic(), time.process_time()
                seen = await anyio.to_thread.run_sync(mine.recv)
                busy = (time.process_time() - spent) / (time.monotonic() - began)
                server.should_exit = True
    return figures(commits, seen, began) | {"server_cpu": busy}


def figures(commits: Commits, seen: list[list[tuple[int, float]]], began: float) -> dict[str, float]:
    """Milliseconds from each commit since `began` to each reader, and to the last of all readers."""
    versions, times = np.array(commits.versions), np.array(commits.times)
    versions, times = versions[times > began], times[times > began]
    delays = np.empty((len(seen), len(versions)))
    for n, each in enumerate(seen):
        told, when = np.array(each).T
        delays[n] = when[np.searchsorted(told, versions)] - times
    delays *= 1000
    return {
        "readers": len(seen),
        "commits": len(versions),
        "p50_ms": float(np.median(delays)),
        "p95_ms": float(np.quantile(delays, 0.95)),
        "p99_ms": float(np.quantile(delays, 0.99)),
        "last_reader_p50_ms": float(np.median(delays.max(axis=0))),
        "last_reader_p95_ms": float(np.quantile(delays.max(axis=0), 0.95)),
        "worst_ms": float(delays.max()),
    }


async def _until(happened: Callable[[], object]) -> None:
    while not happened():  # noqa: ASYNC110
        await anyio.sleep(0.1)


def main(
    readers: Annotated[int, typer.Option(help="Of one room.", min=1)] = 500,
    seconds: Annotated[float, typer.Option(help="How long is spoken.", min=10)] = 60.0,
) -> None:
    """Measure, and print the figures as JSON."""
    found = anyio.run(measure, readers, seconds, backend_options={"use_uvloop": True})
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    typer.run(main)
