"""`python -m loadtest.talkers --streams 8`: how many people this machine can caption while all of them talk.

For each number of streams a server of its own is started. So many callers talk at it in real time, recording after
recording with pauses of a second, from one process of little cost: all frames are encoded beforehand. Times are a
caller's: from the sending of the sample at which the server says that speech began or ended, to the arrival of the
first words, or of the final text. A pause of 0.2 s ends an utterance here, so no final text can come sooner.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import anyio
import httpx
import numpy as np
import psutil
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.bench import OWN_CLIPS, Sets, SpeechFolder, server
from loadtest.picture import draw_lags
from loadtest.talker import Run, Talker, encode


def metric(text: str, name: str) -> Iterator[tuple[str, float]]:
    """Labels and values of one Prometheus series."""
    for line in re.finditer(rf"^rejoinder_{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE):
        yield line[1] or "", float(line[2])


def _p99_of_loop(before: str, after: str) -> float:
    """The bucket in which the 99th percentile of the loop's lag in between lies."""
    buckets = dict(metric(after, "loop_lag_seconds_bucket"))
    for labels, value in metric(before, "loop_lag_seconds_bucket"):
        buckets[labels] -= value
    bounds = sorted((float(labels.split('"')[1]), value) for labels, value in buckets.items())
    return next((bound for bound, count in bounds if count >= 0.99 * bounds[-1][1]), np.inf)


async def measure(url: str, run: Run, recordings: list[list[str]], progress: Progress) -> None:
    """Let them talk, and fill in what became of it."""
    process = psutil.Process().children()[-1]
    web = url.replace("ws:", "http:") + "/metrics"
    async with httpx.AsyncClient() as http, anyio.create_task_group() as tasks:
        before = (await http.get(web)).text
        spent, begin = _spent(process), anyio.current_time() + 0.5
        for number in range(run.streams):
            first = number * len(recordings) // run.streams  # everyone says something else
            frames = [frame for recording in recordings[first:] + recordings[:first] for frame in recording]
            tasks.start_soon(Talker(frames, run, number).talk, url, begin)
        bar = progress.add_task(f"{run.streams} streams", total=run.seconds)
        while (passed := anyio.current_time() - begin) < run.seconds:
            await anyio.sleep(0.5)
            progress.update(bar, completed=passed)
        run.cores, run.loop_cores = ((now - then) / passed for now, then in zip(_spent(process), spent, strict=True))
        after = (await http.get(web)).text
    run.loop_lag = _p99_of_loop(before, after)
    run.dropped = sum(value for labels, value in metric(after, "audio_seconds_total") if "dropped" in labels)


def _spent(process: psutil.Process) -> tuple[float, float]:
    """Processor seconds of a process, and of its first thread."""
    loop = next(thread for thread in process.threads() if thread.id == process.pid)
    return sum(process.cpu_times()[:2]), loop.user_time + loop.system_time


def show(runs: list[Run]) -> Table:
    """The figures as a table."""
    table = Table(box=None, pad_edge=False)
    for name in ("streams", "first words", "final text", "first third", "last third", "partials", "lost",
                 "loop p99", "cores", "loop", "load", "keeps up"):  # fmt: skip
        table.add_column(name, justify="right")
    for run in runs:
        table.add_row(
            str(run.streams), _quantiles(run.lags.first_words), _quantiles(run.lags.finals),
            f"{1000 * run.third(0):.0f}", f"{1000 * run.third(2):.0f}",
            f"{run.lags.partials / run.streams / run.seconds:.1f} /s", f"{run.unfinished} / {run.dropped:.1f} s",
            f"{1000 * run.loop_lag:g}", f"{run.cores:.2f}", f"{run.loop_cores:.2f}", f"{run.load:.1f}",
            "yes" if run.keeps_up else "no",
        )  # fmt: skip
    table.caption = (
        "milliseconds; p50 / p95; thirds: median wait for the final text; partials for each stream; lost: texts / audio"
    )
    return table


def _quantiles(lags: list[tuple[float, float]]) -> str:
    values = [1000 * lag for _, lag in lags] or [np.nan]
    return f"{np.quantile(values, 0.5):.0f} / {np.quantile(values, 0.95):.0f}"


def main(
    streams: Annotated[list[int], typer.Option(help="Callers at a time; give it again for another run.")] = [8],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="Length of each run.")] = 60.0,
    speech: SpeechFolder = OWN_CLIPS,
    output: Annotated[Path | None, typer.Option("-o", help="Write all waits there, as JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the waits over time, as SVG.")] = None,
    sets: Sets = None,
) -> None:
    """Measure how many callers can talk at the same time."""
    console = Console()
    recordings = encode(speech, 32)
    runs = [Run(count, seconds) for count in streams]
    with Progress(console=console) as progress:
        for run in runs:
            run.load = os.getloadavg()[0]
            settings = ["endpoint.engine=", "logging.level=warning", f"limits.sessions={run.streams}", *(sets or [])]
            with server(*settings) as url:
                anyio.run(measure, url, run, recordings, progress, backend_options={"use_uvloop": True})
    console.print(show(runs))
    if picture:
        draw_lags({run.streams: run.lags.finals for run in runs}, picture)
    if output:
        output.write_text(json.dumps([asdict(run) for run in runs]))


if __name__ == "__main__":
    typer.run(main)
