"""`python -m loadtest.windows MANIFEST`: how much emptiness Whisper needs after the audio to hear it well.

Looks at each clip through windows of several sizes, as the engine does, and prints word errors and cost for each.
"""

import os
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from streams.audio import Audio, resample
from streams.lane import Lane
from streams.tap import SILENT
from voice.config import AsrConfig, Config
from voice.engines import Setup
from voice.engines.mel import RATE
from voice.engines.sanity import doubtful
from voice.engines.whisper import FULL, QUICK, THOROUGH, Look, WhisperAsr
from voice.evaluation.conditions import Condition, parse
from voice.evaluation.manifest import Clip, read_manifest, sounds, spread
from voice.evaluation.scoring import Score, score
from voice.events import Hypothesis, Priority
from voice.models import Store
from voice.settings import load

TOKENS = THOROUGH.tokens
LOOKS = {
    f"{FULL}": Look(FULL, 0, (220, 0)),
    "n + 50": Look(0, 50, TOKENS),
    "n + 100": Look(0, 100, TOKENS),
    "n + 200": Look(0, 200, TOKENS),
    "max(600, n + 200)": Look(600, 200, TOKENS),
    "max(1000, n + 200)": Look(1000, 200, TOKENS),
    "max(1500, n + 300)": Look(1500, 300, TOKENS),
    f"{FULL}, 5 beams": Look(FULL, 0, (220, 0), beams=5),
    "max(600, n + 200), 5 beams": Look(600, 200, TOKENS, beams=5),
    "thorough, as used": THOROUGH,
    "quick, as used": QUICK,
}
CONDITIONS = ["clean", "noise:10", "noise:5", "babble:10", "babble:5", "room"]


@dataclass
class Tally:
    """What one kind of look came to."""

    scores: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    doubted: int = 0
    looks: int = 0
    seconds: float = 0.0

    def add(self, condition: str, clip: Clip, heard: tuple[Hypothesis, bool], seconds: float) -> None:
        """Count one look at `seconds` of audio."""
        found, broken_off = heard
        self.scores[condition] += score(clip.transcript or "", found.text, clip.language)
        self.doubted += broken_off or doubtful(found, seconds)
        self.looks += 1
        self.seconds += found.seconds


async def measure(config: Config, clips: list[Clip], conditions: list[Condition]) -> dict[str, Tally]:
    """Look at every clip in every way."""
    found = {name: Tally() for name in LOOKS}
    folder = Store(config.models).folder
    async with Lane("asr", 1, 1) as lane, WhisperAsr(Setup(config, folder, lane, SILENT)) as asr:
        with Progress(console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("looking", total=len(clips) * len(conditions))
            for condition in conditions:
                for clip in clips:
                    audio = _heard(clip, condition)
                    for name, look in LOOKS.items():
                        call = partial(asr.look, audio, look, clip.language, translate=False)
                        heard = await lane.run(call, priority=Priority.BATCH, session="")
                        found[name].add(condition.name, clip, heard, audio.seconds)
                    bars.advance(task)
    return found


def _heard(clip: Clip, condition: Condition) -> Audio:
    sound = resample(condition.sound(clip, clip.audio(), 0.0, 0.0), RATE)
    return Audio(sound.samples, RATE)


def show(found: dict[str, Tally], conditions: list[Condition]) -> Table:
    """One row for each window."""
    table = Table("columns", "all", *(condition.name for condition in conditions), "doubted", "s / look", box=None)
    for name, tally in found.items():
        rates = [sum(tally.scores.values(), Score()), *(tally.scores[condition.name] for condition in conditions)]
        errors = [f"{100 * (rate.rate or 0):.1f} %" for rate in rates]
        table.add_row(name, *errors, f"{100 * tally.doubted / tally.looks:.0f} %", f"{tally.seconds / tally.looks:.3f}")
    return table


def main(
    manifest: Annotated[Path, typer.Argument(exists=True, help="JSON lines, as for `rejoinder eval`.")],
    model: Annotated[str, typer.Option(help="Recogniser's model.")] = AsrConfig().model,
    most: Annotated[int, typer.Option(help="Clips, spread over the manifest.")] = 60,
    condition: Annotated[list[str], typer.Option(help="clean, noise:SNR, babble:SNR, room.")] = CONDITIONS,
) -> None:
    """Sweep the window over clips of English speech."""
    config, _ = load(None, os.environ, [f"asr.model={model}"])
    lines = read_manifest(manifest)
    clips = spread([clip for clip in lines if clip.kind == "speech" and clip.language == "en"], most)
    conditions = [parse(spec, lambda kind: sounds(lines, kind)) for spec in condition]
    found = anyio.run(measure, config, clips, conditions)
    Console(width=None if sys.stdout.isatty() else 140).print(show(found, conditions))


if __name__ == "__main__":
    typer.run(main)
