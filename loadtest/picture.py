"""The measurements as pictures: how long callers waited, and what for."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from loadtest.player import Client
from loadtest.trials import Over
from voice.timeline import Timeline

WAITS = {
    "pause_detected": "silence noticed",
    "asr_final": "words recognised",
    "llm_request": "not begun yet",
    "llm_first_token": "first token",
    "first_clause": "first clause",
    "tts_first_audio": "first sound",
    "endpoint": "waiting for the turn's end",
    "first_audio": "sent",
    "voice_to_voice": "audible",
}


def draw(turns: list[dict[str, float]], target: Path) -> None:
    """One bar per turn, the quickest first: what each stretch waited for.

    Args:
        turns: marks of each turn, seconds after the end of speech.
        target: SVG file to write.
    """
    ordered = sorted(turns, key=lambda marks: marks["voice_to_voice"])
    spans = [Timeline(0.0, 0.0, marks).spans() for marks in ordered]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.16 * len(spans)), layout="constrained")
    colours = dict(zip(WAITS, plt.get_cmap("tab10").colors, strict=False))  # type: ignore[attr-defined]
    for row, stretches in enumerate(spans):
        start = 0.0
        for name, length in stretches:
            axes.barh(row, 1000 * length, left=1000 * start, color=colours[name], height=0.8)
            start += length
    median = 1000 * float(np.median([marks["voice_to_voice"] for marks in turns]))
    axes.axvline(median, color="black", linewidth=1)
    axes.set_title(f"median {median:.0f} ms", fontsize=10)
    axes.set(yticks=[], xlabel="ms after the end of the caller's speech", ylabel=f"{len(spans)} turns")
    handles = [Patch(color=colours[name]) for name in WAITS]
    axes.legend(handles, WAITS.values(), fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    _save(figure, axes, target)


def draw_lags(lags: dict[int, list[tuple[float, float]]], target: Path) -> None:
    """One line per number of streams: how the wait for final texts goes as time passes; who keeps up stays level.

    Args:
        lags: number of streams -> (second of the run, seconds of waiting) of each final text.
        target: SVG file to write.
    """
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(lags)))
    for colour, (streams, points) in zip(colours, lags.items(), strict=True):
        at, lag = np.array(sorted(points)).reshape(-1, 2).T
        middles = [chunk for chunk in np.array_split(np.arange(len(at)), 8) if len(chunk)]
        axes.plot(
            [at[chunk].mean() for chunk in middles],
            [1000 * np.median(lag[chunk]) for chunk in middles],
            color=colour,
            label=f"{streams}",
        )
    axes.set(xlabel="seconds of the run", ylabel="ms from the end of speech to its text", yscale="log")
    axes.legend(title="streams", fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    _save(figure, axes, target)


def draw_voices(voices: list[Over], target: Path) -> None:
    """One bar per interruption, the quickest first: how long the answer went on, at full volume and softer.

    Args:
        voices: interruptions; those that had no effect are left out.
        target: SVG file to write.
    """
    client = Client.API.name
    ended = sorted((one for one in voices if client in one.silent), key=lambda one: one.silent[client])
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.18 * len(ended)), layout="constrained")
    groups = list(dict.fromkeys(one.group for one in voices))
    colours = dict(zip(groups, plt.get_cmap("tab10").colors, strict=False))  # type: ignore[attr-defined]
    for row, one in enumerate(ended):
        silent = one.silent[client]
        softer = min(max(0.0, one.softer.get(client, silent)), silent)
        axes.barh(row, 1000 * softer, color=colours[one.group], height=0.8)
        axes.barh(row, 1000 * (silent - softer), left=1000 * softer, color=colours[one.group], height=0.8, alpha=0.35)
        axes.plot(1000 * min(one.length, 1.5), row, "|", color="black")
    handles = [Patch(color=colour) for colour in colours.values()]
    axes.legend(handles, colours, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    axes.set(yticks=[], xlabel="ms after the voice began: full volume, softer, silent", ylabel=f"{len(ended)} voices")
    axes.set_title("tick: the voice ended (or went on)", fontsize=10)
    _save(figure, axes, target)


def _save(figure: Figure, axes: Axes, target: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)
