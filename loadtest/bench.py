"""`python -m loadtest.bench`: what one caller experiences with the default configuration, over recorded human speech.

Starts a server of its own on a free port, says each clip to it in real time, and measures from outside: the end of
the caller's speech to the first audible sample, words right, answers to non-speech. Writes a table and a picture.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import anyio
import httpx
import jiwer
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from whisper_normalizer.english import EnglishTextNormalizer

from loadtest.caller import Call, speak
from loadtest.picture import draw
from voice.evaluation.manifest import Clip, chosen, read_manifest, spread
from voice.timeline import MARKS

OWN_CLIPS = Path(__file__).parent.parent / "tests" / "data"
SpeechFolder = Annotated[
    Path,
    typer.Option(envvar="REJOINDER_TEST_SPEECH", exists=True, help="Folder with manifest.jsonl and what it names."),
]
Results = Annotated[Path | None, typer.Option("-o", help="Write the single results there, as JSON.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Setting for the server.")]
PATIENCE = 6.0
QUIET_SECONDS = 20.0


@dataclass(frozen=True)
class Row:
    """One clip's result; times in seconds."""

    id: str
    waited: float | None
    marks: dict[str, float]
    disagreement: float | None
    cut_off: bool
    transcript: str
    reference: str
    drafts: tuple[dict[str, object], ...] = ()


@contextmanager
def server(*settings: str) -> Iterator[str]:
    """A server process of our own; yields its ws:// address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voice", "serve", "--port", str(port)]
    for setting in settings:
        command += ["--set", setting]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.terminate()


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]", patience: float = 120.0) -> None:
    """Return when the server answers. Raises RuntimeError when it ends, or does not answer in time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not become ready within {patience:g} s; run `rejoinder serve` to see why")


def accepted(url: str) -> dict[str, str]:
    """What a server's language model made of its own drafts, of all answers that it ended; empty without drafts."""
    lines = httpx.get(f"{url.replace('ws', 'http', 1)}/metrics").text.splitlines()
    told = dict(line.rsplit(" ", 1) for line in lines if line.startswith("rejoinder_llm_accept_"))

    def mean(name: str) -> float:
        return float(told[f"rejoinder_llm_accept_{name}_sum"]) / answers

    answers = float(told.get("rejoinder_llm_accept_length_count", 0))
    if not answers:
        return {}
    figure = f"{mean('length'):.2f} tokens a step, {100 * mean('rate'):.0f} % of the drafts"
    return {f"accepted of the model's own drafts, {answers:.0f} answers": figure}


def clips(folder: Path, kinds: set[str], most: int) -> list[Clip]:
    """Recordings of those kinds, at most so many, spread evenly over the folder's manifest."""
    fit = chosen(read_manifest(folder / "manifest.jsonl"), kinds=kinds, languages=["en"])
    return spread([clip for clip in fit if not clip.talks or _usable(clip)], most)


def _usable(clip: Clip) -> bool:
    return clip.trusted and clip.offset is not None and 1.5 <= (clip.seconds or 0) <= 15


def say(url: str, clip: Clip) -> Row:
    """Say one clip of speech."""
    call: Call = anyio.run(speak, url, clip.audio(), clip.offset or 0.0, PATIENCE)
    marks = call.marks[-1] if call.marks else {}
    return Row(
        clip.id,
        call.waited,
        marks,
        call.disagreement,
        call.cut_off,
        call.transcript,
        clip.transcript,
        tuple(call.drafts),
    )


def answers_to_noise(url: str, clip: Clip) -> int:
    """Play a clip without speech; how many answers it got."""
    sound = clip.audio()
    call: Call = anyio.run(speak, url, sound, sound.seconds, max(1.0, QUIET_SECONDS - sound.seconds))
    return len(call.created)


def show(rows: list[Row], noise: dict[str, int], further: dict[str, str]) -> Table:
    """The figures as a table, and further ones."""
    normal = EnglishTextNormalizer()
    waits = [row.waited for row in rows if row.waited is not None]
    told = [row for row in rows if row.waited and row.marks and not row.cut_off]
    gaps = [abs(row.disagreement) for row in told if row.disagreement is not None]
    wer = jiwer.wer([normal(row.reference) for row in rows], [normal(row.transcript) for row in rows])
    table = Table("figure", "value", box=None, pad_edge=False)
    figures = {
        "clips said": f"{len(rows)}",
        "answered": f"{len(waits)}",
        "end of speech -> first audible sample, p50 / p95": pair(waits, " ms"),
        "answer begun before the caller had finished": f"{sum(row.cut_off for row in rows)}",
        "word error rate of the finals": f"{100 * wer:.1f} %",
        "server's own figure differs from this stopwatch, p50 / p95": pair(gaps, " ms"),
        "clips without speech: played / answered": f"{len(noise)} / {sum(count > 0 for count in noise.values())}",
    }
    for mark in MARKS[1:]:
        figures[f"  after the end of speech: {mark}, p50 / p95"] = pair(
            [row.marks[mark] for row in told if mark in row.marks], " ms"
        )
    figures |= further
    for name, value in figures.items():
        table.add_row(name, value)
    return table


def pair(seconds: Sequence[float], unit: str = "") -> str:
    """Median and 95th percentile in milliseconds."""
    if not seconds:
        return "-"
    return f"{1000 * np.quantile(seconds, 0.5):.0f} / {1000 * np.quantile(seconds, 0.95):.0f}{unit}"


def main(
    speech: SpeechFolder = OWN_CLIPS,
    most: Annotated[int, typer.Option(help="Clips of speech.")] = 40,
    most_noise: Annotated[int, typer.Option(help="Clips without speech.")] = 12,
    output: Results = None,
    picture: Annotated[Path | None, typer.Option(help="Draw where the time went, as SVG.")] = None,
    sets: Sets = None,
) -> None:
    """Measure what one caller experiences."""
    console = Console()
    spoken = clips(speech, {"speech"}, most)
    silent = clips(speech, {"noise", "music", "silence", "tone"}, most_noise)
    with server(*(sets or [])) as url:
        rows = [say(url, clip) for clip in track(spoken, "speaking", console=console)]
        noise = {clip.id: answers_to_noise(url, clip) for clip in track(silent, "making noise", console=console)}
        drafts = accepted(url)
    console.print(show(rows, noise, drafts))
    for row in rows:
        if row.waited is None:
            console.print(f"not answered: {row.id}")
    for name, count in noise.items():
        if count:
            console.print(f"answered {count} times: {name}")
    if picture:
        draw([row.marks for row in rows if row.marks], picture)
    if output:
        output.write_text(json.dumps({"speech": [asdict(row) for row in rows], "noise": noise} | drafts, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    typer.run(main)
