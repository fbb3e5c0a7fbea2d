"""`python -m loadtest.latency`: where the time of a turn goes, and what is won by what is done before it ends.

Says each clip in real time to several servers in turn: as configured, without reading along, without early replies, and
without both; so that all meet the same machine. Writes a table, the ledger of the early replies, and the waterfall of
every turn as a picture.
"""

import json
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from loadtest.bench import OWN_CLIPS, Results, Row, SpeechFolder, clips, pair, say, server
from loadtest.picture import draw

SETTINGS = {
    "as configured": (),
    "without reading along": ("speculation.prefill=false",),
    "without early replies": ("speculation.replies=off",),
    "without both": ("speculation.prefill=false", "speculation.replies=off"),
}
MARKS = ("asr_final", "llm_request", "llm_first_token", "first_clause", "tts_first_audio", "endpoint", "voice_to_voice")


def answered(rows: list[Row]) -> list[Row]:
    """Turns whose answer began after the caller had finished."""
    return [row for row in rows if row.waited is not None and not row.cut_off]


def show(found: dict[str, list[Row]]) -> Table:
    """One column for each server; milliseconds after the end of speech, p50 / p95."""
    table = Table("ms after the end of speech, p50 / p95", *found, box=None, pad_edge=False)
    heard = {name: answered(rows) for name, rows in found.items()}
    table.add_row("turns", *(str(len(rows)) for rows in heard.values()))
    for mark in MARKS:
        table.add_row(mark, *(pair([row.marks[mark] for row in rows if mark in row.marks]) for rows in heard.values()))
    table.add_row(
        "first audible sample, outside", *(pair([row.waited or 0 for row in rows]) for rows in heard.values())
    )
    base = {row.id: row.waited for row in next(iter(heard.values()))}
    gains = [[row.waited - base[row.id] for row in rows if row.id in base] for rows in heard.values()]  # type: ignore[operator]
    table.add_row("later than as configured, same clip", *map(pair, gains))
    return table


def show_ledger(found: dict[str, list[Row]]) -> Table:
    """What became of the replies begun early."""
    table = Table("early replies", *found, box=None, pad_edge=False)
    rows: defaultdict[str, list[str]] = defaultdict(list)
    for turns in found.values():
        drafts = [draft for row in turns for draft in row.drafts]
        outcomes = Counter(str(draft["outcome"]) for draft in drafts)
        hits = outcomes["hit"]
        rows["begun"].append(str(len(drafts)))
        rows["kept"].append(f"{hits} ({100 * hits / len(drafts):.0f} %)" if drafts else "-")
        saved = [float(draft["saved_ms"]) / 1000 for draft in drafts if draft["outcome"] == "hit"]  # type: ignore[arg-type]
        rows["ms saved by one that is kept, p50 / p95"].append(pair(saved))
        wasted = sum(int(draft["tokens"]) for draft in drafts if draft["outcome"] != "hit")  # type: ignore[call-overload]
        rows["tokens wasted"].append(str(wasted))
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def main(
    speech: SpeechFolder = OWN_CLIPS,
    most: Annotated[int, typer.Option(help="Clips.")] = 20,
    output: Results = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the turns as configured, as SVG.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Setting for all servers.")] = None,
) -> None:
    """Measure where the time of a turn goes."""
    console = Console()
    found: dict[str, list[Row]] = {name: [] for name in SETTINGS}
    with ExitStack() as running:
        urls = {name: running.enter_context(server(*(sets or []), *own)) for name, own in SETTINGS.items()}
        for clip in track(clips(speech, {"speech"}, most), "speaking", console=console):
            for name, url in urls.items():
                found[name].append(say(url, clip))
    console.print(show(found))
    console.print(show_ledger(found))
    if picture:
        draw([row.marks for row in answered(found["as configured"]) if row.marks], picture)
    if output:
        output.write_text(json.dumps({name: [asdict(row) for row in rows] for name, rows in found.items()}, indent=1))


if __name__ == "__main__":
    typer.run(main)
