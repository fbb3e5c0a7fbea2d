"""`python -m loadtest.llm`: how soon and how fast a language model answers, of any engine that can be configured.

Opens the engine as the server does (`--set llm.engine=...`, `--set llm.url=...`), without recognition and voice. Each
round is a conversation of its own: its first prompt is cold, its second one goes on where the first answer ended, and
its third was read in advance while it grew, as a caller's words are. Writes a table, and all single figures as JSON.
"""

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import anyio
import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from streams.lane import Lane
from streams.tap import Silent
from voice.config import Config
from voice.console import fetch, load_config
from voice.engines import EngineError, Llm
from voice.events import Message, Priority, Prompt, TextDelta, Usage
from voice.models import Store, needed
from voice.service import open_engine

INSTRUCTIONS = (
    "You are the assistant of a small hotel by the sea. You answer on the telephone, in one or two short sentences. "
    "Breakfast is from seven to ten, the sauna is open until nine, and the last ferry leaves at half past six."
)
QUESTIONS = (
    "Good morning, I would like to know when breakfast is served, and whether children pay the full price for it.",
    "Thank you. And could you tell me which ferry I have to take to be on the island before lunch?",
    "All right, then please book a table for two at the window, and tell me again how long the sauna is open.",
)
GROWING = (0.3, 0.6, 0.85)
"""Shares of the last question that are read in advance, one after the other."""
PATIENCE = 10.0

Figures = defaultdict[str, list[float]]


@dataclass
class Answer:
    """One answer: times in seconds of the event loop."""

    asked: float
    first: float = 0.0
    last: float = 0.0
    text: str = ""
    usage: Usage = field(default_factory=Usage)


class Told(Silent):
    """Takes what the engine itself reports."""

    def __init__(self) -> None:
        self.idle: list[float] = []
        self.changed = anyio.Event()

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Seconds from a cancellation to its confirmation."""
        if name == "cancel_to_idle_seconds":
            self.idle.append(value)
            self.changed.set()
            self.changed = anyio.Event()


async def ask(llm: Llm, messages: list[Message], tokens: int, temperature: float) -> Answer:
    """Have a whole answer given."""
    answer = Answer(anyio.current_time())
    prompt = Prompt(tuple(messages), max_tokens=tokens, temperature=temperature)
    async with llm.stream(prompt, request=uuid4().hex, priority=Priority.FINAL) as events:
        async for event in events:
            match event:
                case TextDelta(text):
                    answer.last = anyio.current_time()
                    answer.first = answer.first or answer.last
                    answer.text += text
                case Usage():
                    answer.usage = event
    return answer


def note(figures: Figures, name: str, answer: Answer) -> None:
    """Enter an answer's figures."""
    usage = answer.usage
    figures[f"first token, {name}"].append(1000 * (answer.first - answer.asked))
    figures[f"tokens of the prompt, {name}"].append(usage.prompt)
    figures[f"of these cached, {name}"].append(usage.cached)
    if usage.completion > 1 and answer.last > answer.first:
        figures["tokens a second"].append((usage.completion - 1) / (answer.last - answer.first))
    if usage.accept_length:
        figures["accept length"].append(usage.accept_length)
        figures["accept rate"].append(usage.accept_rate)


async def converse(llm: Llm, figures: Figures, number: int, tokens: int, temperature: float) -> None:
    """One conversation; `number` makes it differ from all others at its beginning."""
    messages = [Message("system", f"This is call number {number}. {INSTRUCTIONS}")]
    for name, question in zip(("cold", "next turn", "read in advance"), QUESTIONS, strict=True):
        if name == "read in advance":
            words = question.split()
            for share in GROWING:
                said = Message("user", " ".join(words[: round(share * len(words))]))
                await llm.prefill(Prompt((*messages, said), max_tokens=tokens), request=uuid4().hex)
        messages.append(Message("user", question))
        answer = await ask(llm, messages, tokens, temperature)
        note(figures, name, answer)
        messages.append(Message("assistant", answer.text))


async def cancel(llm: Llm, told: Told, figures: Figures, number: int) -> None:
    """Leave an answer after its first words, and wait until the engine says that it has stopped."""
    before = len(told.idle)
    messages = (Message("system", f"Cancelled call {number}."), Message("user", "Tell me a very long story."))
    prompt = Prompt(messages, max_tokens=1000)
    async with llm.stream(prompt, request=uuid4().hex, priority=Priority.FINAL) as events:
        async for _ in events:
            break
    with anyio.move_on_after(PATIENCE):
        while len(told.idle) == before:
            await told.changed.wait()
    figures["cancelled to idle"] += [1000 * seconds for seconds in told.idle[before:]]


async def measure(config: Config, store: Store, rounds: int, tokens: int, temperature: float) -> Figures:
    """All figures of a configuration's language model; times in milliseconds."""
    figures, told = Figures(list), Told()
    async with Lane("llm", 1, 1) as lane, open_engine("llm", config, store, lane, told) as llm:
        with Progress(console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(config.llm.engine, total=2 * rounds)
            await converse(llm, Figures(list), -1, tokens, temperature)  # a first use of everything
            for number in range(rounds):
                await converse(llm, figures, number, tokens, temperature)
                bars.advance(task)
            for number in range(rounds):
                await cancel(llm, told, figures, number)
                bars.advance(task)
    return figures


def show(figures: Mapping[str, list[float]]) -> Table:
    """Median and 95th percentile of each figure."""
    table = Table("figure", "median", "p95", "measured", box=None, pad_edge=False)
    for name, values in figures.items():
        if not values:
            table.add_row(name, "-", "-", "0")
            continue
        unit = " ms" if name.startswith(("first token", "cancelled")) else ""
        digits = 2 if name.startswith("accept") else 0
        cells = (f"{np.quantile(values, share):.{digits}f}{unit}" for share in (0.5, 0.95))
        table.add_row(name, *cells, str(len(values)))
    return table


def main(
    rounds: Annotated[int, typer.Option(help="Conversations, and cancelled answers.", min=1)] = 10,
    tokens: Annotated[int, typer.Option(help="Longest answer.", min=2)] = 48,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest word.", min=0)] = 0.0,
    output: Annotated[Path | None, typer.Option("-o", help="Write all figures there, as JSON.")] = None,
    file: Annotated[Path | None, typer.Option("--config", help="TOML file.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Setting, for instance llm.threads=2.")] = None,
) -> None:
    """Measure how a language model answers."""
    config, _ = load_config(file, sets)
    store = Store(config.models)
    wanted = set(needed(config)) - {config.asr.model, config.tts.voice, config.endpoint.model}
    fetch(store, sorted(wanted))
    try:
        figures = anyio.run(measure, config, store, rounds, tokens, temperature)
    except EngineError as error:
        Console(stderr=True).print(f"loadtest.llm: {error}", markup=False)
        raise typer.Exit(2) from error
    Console().print(show(figures))
    if output:
        output.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    typer.run(main)
