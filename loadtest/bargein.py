"""`python -m loadtest.bargein`: what a caller experiences who speaks over an answer, with the default configuration.

Starts a server of its own on a free port and holds calls with it in real time: interruptions, listeners' words, noises,
an echo, and cuts after which the history is compared with what had sounded. docs/barge-in.md says how to read it.
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import anyio
import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.bench import OWN_CLIPS, server
from loadtest.caller import RATE
from loadtest.heard import Verdict, judge, middles, said_again
from loadtest.live import Echo
from loadtest.picture import draw_voices
from loadtest.player import Client
from loadtest.sayings import Saying, interruptions, others, spoken, stop_please
from loadtest.trials import LONG, SHORT, Cut, Echoed, Over, Remembered, Report, echoed, remembered, talk_over
from streams.audio import resample
from streams.lane import Lane
from streams.tap import SILENT
from voice.config import Config
from voice.engines import Setup
from voice.engines.piper import PiperTts
from voice.evaluation.manifest import Clip, read_manifest
from voice.models import Store
from voice.settings import load

SIDE_BY_SIDE = 2
"""Calls at a time where no delay is measured."""
LATE = (0.04, 0.2)
"""Seconds by which an echo is late, least and most."""
CUTS: tuple[tuple[Cut, Report], ...] = (
    ("voice", "nothing"),
    ("cancel", "nothing"),
    ("voice", "playback"),
    ("cancel", "playback"),
    ("voice", "truncate"),
    ("cancel", "truncate"),
)


class Part(Enum):
    """What is measured, in this order."""

    INTERRUPTIONS = "interruptions"
    OTHERS = "others"
    ECHOES = "echoes"
    CUTS = "cuts"


@dataclass
class Found:
    """All that was measured."""

    interruptions: list[Over] = field(default_factory=list)
    others: list[Over] = field(default_factory=list)
    echoes: list[Echoed] = field(default_factory=list)
    cuts: list[tuple[Remembered, Verdict]] = field(default_factory=list)


Call = Callable[[], Awaitable[None]]


async def hold(calls: Sequence[Call], at_a_time: int, done: Callable[[], None]) -> None:
    """Hold all calls, so many at a time."""
    limiter = anyio.CapacityLimiter(at_a_time)

    async def one(call: Call) -> None:
        async with limiter:
            await call()
        done()

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(one, call)


class Plan:
    """The calls of one run; each notes what it found."""

    def __init__(self, url: str, found: Found) -> None:
        self.cuts: list[Remembered] = []
        self._url = url
        self._found = found
        self._chance = np.random.default_rng(4)

    def talks(self, sayings: list[Saying], tokens: int, found: list[Over]) -> list[Call]:
        """Each saying over an answer of its own, 1 to 4 s into a long one, 1 to 2 s into a short one."""

        def call(number: int, saying: Saying, after: float) -> Call:
            async def hold() -> None:
                found.append(await talk_over(self._url, saying, number, after, tokens))

            return hold

        latest = 4.0 if tokens == LONG else 2.0
        return [call(n, saying, self._chance.uniform(1.0, latest)) for n, saying in enumerate(sayings)]

    def echoes(self, count: int, rooms: dict[str, np.ndarray], stop: Saying) -> list[Call]:
        """Turns with an echo, later and later, dry and in the rooms in turn."""

        def call(number: int, late: float, room: str) -> Call:
            async def hold() -> None:
                found = await echoed(self._url, Echo(late, rooms[room]), room, stop, number)
                self._found.echoes.append(found)

            return hold

        names = list(rooms)
        return [call(n, float(late), names[n % len(names)]) for n, late in enumerate(np.linspace(*LATE, count))]

    def histories(self, count: int, stop: Saying) -> list[Call]:
        """Cuts at random points, by voice and by the client, with every kind of report."""

        def call(number: int, after: float) -> Call:
            async def hold() -> None:
                self.cuts.append(await remembered(self._url, *CUTS[number % len(CUTS)], stop, number, after))

            return hold

        return [call(n, self._chance.uniform(0.8, 6.0)) for n in range(count)]


def rooms(clips: list[Clip]) -> dict[str, np.ndarray]:
    """Responses of rooms from the direct sound on, of energy 1, and a dry path."""
    found = {"dry": np.ones(1)}
    for clip in clips:
        if clip.kind == "rir":
            response = resample(clip.audio(), RATE).floats().astype(np.float64)
            response = response[int(np.argmax(np.abs(response))) :]
            found[clip.id] = response / np.sqrt(np.sum(response**2))
    return found


async def measure(
    url: str,
    clips: list[Clip],
    sets: list[str],
    parts: Sequence[Part],
    most: int,
    echo_turns: int,
    cuts: int,
    bars: Progress,
) -> Found:
    """These parts, one after the other: first those in which delays count."""
    found = Found()
    config, _ = load(None, os.environ, sets)
    phrases = await spoken(config)
    stop, plan = stop_please(phrases), Plan(url, found)
    calls = {
        Part.INTERRUPTIONS: plan.talks(interruptions(clips, phrases, most), LONG, found.interruptions),
        Part.OTHERS: plan.talks(others(clips, phrases, most), SHORT, found.others),
        Part.ECHOES: plan.echoes(echo_turns, rooms(clips), stop),
        Part.CUTS: plan.histories(cuts, stop),
    }
    tasks = {part: bars.add_task(part.value, total=len(calls[part])) for part in Part if part in parts}
    for part, task in tasks.items():
        at_a_time = 1 if part is Part.INTERRUPTIONS else SIDE_BY_SIDE
        await hold(calls[part], at_a_time, lambda task=task: bars.advance(task))  # type: ignore[misc]
    found.cuts = await compare(plan.cuts, config, bars)
    return found


async def compare(cuts: list[Remembered], config: Config, bars: Progress) -> list[tuple[Remembered, Verdict]]:
    """Hold each history against its sound."""
    found = []
    async with (
        Lane("tts", 1, 1) as lane,
        PiperTts(Setup(config, Store(config.models).folder, lane, SILENT)) as tts,
    ):
        for kept in bars.track(cuts, description="comparing"):
            again, words = await said_again(kept.transcript, tts, config)
            verdict = judge(kept.history, kept.transcript, middles(kept.audio, again, words), kept.played)
            found.append((kept, verdict))
    return found


# What is shown ----------------------------------------------------------------------------------------------------


def quantiles(values: Sequence[float | None]) -> str:
    """Median and 95th percentile in ms."""
    known = [1000 * value for value in values if value is not None]
    return f"{np.quantile(known, 0.5):.0f} / {np.quantile(known, 0.95):.0f} ms" if known else "-"


def share(count: int, of: int) -> str:
    """So many of so many."""
    return f"{count} of {of} ({100 * count / of:.0f} %)" if of else "-"


def groups(found: list[Over]) -> dict[str, list[Over]]:
    """By kind, in the order they came."""
    return {name: [one for one in found if one.group == name] for name in dict.fromkeys(one.group for one in found)}


def show(found: Found) -> Table:
    """The figures as a table."""
    table = Table("figure", "value", box=None, pad_edge=False)
    for name, value in [*_interrupted(found), *_left_running(found), *_echoed(found), *_kept(found)]:
        table.add_row(name, value)
    return table


def _interrupted(found: Found) -> list[tuple[str, str]]:
    every = found.interruptions
    made = [one for one in every if one.cut]
    again = sum(_again(one) for one in made)
    rows = [
        ("interruptions that ended the answer", share(len(made), len(every))),
        ("  it fell silent, came back, and then ended", share(again, len(made))),
        ("voice onset -> server says ducked, p50 / p95", quantiles([one.first("ducked") for one in every])),
    ]
    for client in Client:
        softer = [one.softer.get(client.name) for one in every]
        rows.append((f"  -> heard softer, {client.name.lower()} client", quantiles(softer)))
    rows.append(("voice onset -> server falls silent, p50 / p95", quantiles([_stopped(one) for one in made])))
    for client in Client:
        silent = [one.silent.get(client.name) for one in made]
        rows.append((f"voice onset -> last heard, {client.name.lower()} client, p50 / p95", quantiles(silent)))
    for group, members in groups(made).items():
        silent = [one.silent.get(Client.API.name) for one in members]
        rows.append((f"  {group} ({len(members)}), api client", quantiles(silent)))
    return rows


def _stopped(one: Over) -> float | None:
    """When the server first held or ended the answer."""
    return next((at for name, at in one.states if name in ("held", "started")), None)


def _again(one: Over) -> bool:
    """It was held and taken up again before it ended."""
    names = [name for name, _ in one.states]
    return "held" in names and "restored" in names[names.index("held") :]


def _left_running(found: Found) -> list[tuple[str, str]]:
    rows = []
    for group, members in groups(found.others).items():
        ran = [one for one in members if not one.cut]
        broken = [one.broken for one in ran]
        rows.append((f"{group}: answers that ran to their end", share(len(ran), len(members))))
        if ran:
            rows.append(("  seconds they were silent, mean / most", f"{np.mean(broken):.2f} / {max(broken):.2f} s"))
    return rows


def _echoed(found: Found) -> list[tuple[str, str]]:
    turns = found.echoes
    stopped = [turn.stopped for turn in turns if turn.stopped]
    silent = [one.silent.get(Client.API.name) for one in stopped if one.cut]
    return [
        ("turns with an echo: the echo ended the answer", share(sum(turn.cut for turn in turns), len(turns))),
        ("  made it softer", share(sum(turn.ducked > 0 for turn in turns), len(turns))),
        ('  "stop, please" over it was obeyed', share(sum(one.cut for one in stopped), len(stopped))),
        ("  its onset -> silence, api client, p50 / p95", quantiles(silent)),
    ]


def _kept(found: Found) -> list[tuple[str, str]]:
    every = [said for _, said in found.cuts]
    parts = {"cuts: history right to the word": every}
    for way in CUTS:
        members = [said for kept, said in found.cuts if (kept.cut, kept.report) == way]
        parts[f"  ended by {way[0]}, client reports {way[1]}"] = members
    rows = []
    for name, members in parts.items():
        right = share(sum(said.right for said in members), len(members))
        rows.append((name, f"{right}, surely wrong {sum(said.wrong for said in members)}"))
    return [*rows, ("  the yardstick allows another reading", share(sum(not said.sure for said in every), len(every)))]


def missed(found: Found) -> list[str]:
    """One line for everything that went otherwise than it should."""
    lines = [
        f"not interrupted: {one.name} ({one.said or 'nothing heard'})" for one in found.interruptions if not one.cut
    ]
    lines += [f"cut by: {one.name} ({one.said or 'nothing heard'})" for one in found.others if one.cut]
    lines += [f"cut by its echo, {1000 * turn.late:.0f} ms late, {turn.room}" for turn in found.echoes if turn.cut]
    lines += [
        f"stop not obeyed over an echo {1000 * turn.late:.0f} ms late, {turn.room}"
        for turn in found.echoes
        if turn.stopped and not turn.stopped.cut
    ]
    lines += [
        f"history wrong ({kept.cut}, {kept.report}): {said.kept} words, {said.least} to {said.most} sounded"
        for kept, said in found.cuts
        if said.wrong
    ]
    return lines


def report(found: Found) -> dict[str, Any]:
    """Single results, without the sound."""
    return {
        "interruptions": [asdict(one) for one in found.interruptions],
        "others": [asdict(one) for one in found.others],
        "echoes": [asdict(turn) for turn in found.echoes],
        "cuts": [
            {"cut": kept.cut, "report": kept.report, "history": kept.history, "transcript": kept.transcript}
            | {"played": kept.played, "repeated": kept.repeated, "verdict": asdict(said)}
            for kept, said in found.cuts
        ],
    }


def main(
    speech: Annotated[
        Path,
        typer.Option(envvar="REJOINDER_TEST_SPEECH", exists=True, help="Folder with manifest.jsonl and what it names."),
    ] = OWN_CLIPS,
    most: Annotated[int, typer.Option(help="Of each kind of saying.")] = 8,
    echo_turns: Annotated[int, typer.Option("--echoes", help="Turns with an echo.")] = 20,
    cuts: Annotated[int, typer.Option(help="Cuts whose history is compared.")] = 40,
    only: Annotated[list[Part] | None, typer.Option(help="Measure this part; may be given again.")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="Write the single results there, as JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw what became of each voice, as SVG.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Setting for the server.")] = None,
) -> None:
    """Measure what a caller experiences who speaks over an answer."""
    console = Console()
    clips = read_manifest(speech / "manifest.jsonl")
    with server(*(sets or [])) as url, Progress(console=console) as bars:
        found = anyio.run(measure, url, clips, sets or [], only or list(Part), most, echo_turns, cuts, bars)
    Console(width=None if sys.stdout.isatty() else 140).print(show(found))
    for line in missed(found):
        console.print(line)
    if picture:
        draw_voices(found.interruptions, picture)
    if output:
        output.write_text(json.dumps(report(found), indent=1))


if __name__ == "__main__":
    typer.run(main)
