"""Pictures for the page: inline SVG that takes its text colour from the page, so that it suits light and dark."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from voice.evaluation.asr import Figures
from voice.evaluation.turns import Setting

INK = "#123456"
"""Stands for the page's text colour until the picture is written."""
COLOURS = ("#2f7fd0", "#d9822b", "#3a9d6a", "#b5569c", "#8a8f98", "#c2473d")
"""Readable on white and on black."""
WIDE = 5.0
"""Inches; small, so that the text can be read on a phone."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rejoinder",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
}
KINDS = (("fixed silence", "o-", COLOURS[0]), ("semantic_vad", "s-", COLOURS[1]), ("as configured", "D", COLOURS[5]))
"""Ways to detect turns: name, marker, colour."""


def word_errors(found: list[Figures]) -> str:
    """Error rates by condition with their intervals, stock beside them where it ran."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 1.3 + 0.5 * len(found)), layout="constrained")
        rows = np.arange(len(found))[::-1]
        for shift, label, colour, every in (
            (0.18, "Rejoinder", COLOURS[0], [one.words for one in found]),
            (-0.18, "stock faster-whisper", COLOURS[1], [one.stock for one in found]),
        ):
            for row, errors in zip(rows, every, strict=True):
                if errors is None or errors.rate is None or errors.interval is None:
                    continue
                low, high = errors.interval
                axes.plot([100 * low, 100 * high], [row + shift] * 2, color=colour, linewidth=2, alpha=0.6)
                axes.plot(100 * errors.rate, row + shift, "o", color=colour, label=label, clip_on=False)
        axes.set(yticks=rows, yticklabels=[one.condition for one in found], xlabel="word error rate, %")
        axes.set(xlim=(0, None), ylim=(-0.6, len(found) - 0.4))
        _legend(axes)
        return _svg(figure)


def latencies(named: Sequence[tuple[str, list[float]]]) -> str:
    """What part of the cases took at most so long; one curve each."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 3.0), layout="constrained")
        for (name, seconds), colour in zip(named, COLOURS, strict=False):
            if seconds:
                shares = 100 * np.arange(1, len(seconds) + 1) / len(seconds)
                axes.step(1000 * np.sort(seconds), shares, where="post", color=colour, label=name)
        axes.set(xlabel="ms", ylabel="% of cases at most so late", ylim=(0, 100))
        limit = max((1000 * float(np.quantile(seconds, 0.9)) for _, seconds in named if seconds), default=1000.0)
        axes.set_xlim(0, max(1.2 * limit, 100))
        _legend(axes)
        return _svg(figure)


def trade_off(found: list[Setting]) -> str:
    """How late against how often wrong, for each way to detect turns."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDE, 3.8), layout="constrained")
        kinds = {
            "fixed silence": ("o-", COLOURS[0]),
            "semantic_vad": ("s-", COLOURS[1]),
            "as configured": ("D", COLOURS[5]),
        }
        for kind, (marker, colour) in kinds.items():
            points = sorted(
                (1000 * one.whole.delay.p50, 100 * one.whole.rate, one.name)
                for one in found
                if _kind(one.name) == kind and one.whole.delay.p50 is not None and one.whole.rate is not None
            )
            if not points:
                continue
            axes.plot(
                [x for x, _, _ in points], [y for _, y, _ in points], marker, color=colour, label=kind, clip_on=False
            )
            for x, y, name in points:
                text = name.removesuffix(" of silence").removeprefix("semantic_vad, ")
                if kind != "as configured":
                    axes.annotate(text, (x, y), textcoords="offset points", xytext=(6, 4), fontsize=8)
        axes.set(xlabel="median delay from the end of speech, ms", ylabel="inner pauses taken for the end, %")
        axes.set(xlim=(0, None), ylim=(0, None))
        _legend(axes)
        return _svg(figure)


def _kind(name: str) -> str:
    return "fixed silence" if name.endswith("of silence") else name.split(",")[0]


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    if named:
        axes.legend(
            named.values(),
            named.keys(),
            frameon=False,
            fontsize=9,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=len(named),
            borderaxespad=0.2,
            handletextpad=0.4,
            columnspacing=1.2,
        )


def _svg(figure: Figure) -> str:
    """The picture as an element for a page."""
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    picture = target.getvalue()
    return picture[picture.index("<svg") :].replace(INK, "currentColor")
