"""Figures for the terminal."""

from rich.table import Table

from voice.evaluation.asr import Errors, Figures, Spread
from voice.evaluation.turns import Ends, Setting

FEW = 8
"""Clips below which an interval says nothing."""


def recognition(found: list[Figures]) -> Table:
    """One column per condition."""
    table = Table("figure", *(one.condition for one in found), box=None, pad_edge=False)
    for name, cells in recognition_rows(found):
        table.add_row(name, *cells)
    return table


def recognition_rows(found: list[Figures]) -> list[tuple[str, list[str]]]:
    """What there is to show, (name, one cell per condition)."""
    rows = [
        ("clips with speech / nothing heard", [f"{one.words.clips} / {one.words.empty}" for one in found]),
        ("word error rate (95 % interval)", [errors(one.words) for one in found]),
        ("  substituted / deleted / inserted / of words", [counts(one.words) for one in found]),
    ]
    if any(one.characters.clips for one in found):
        rows.append(("character error rate (zh, ja, ko, th)", [errors(one.characters) for one in found]))
    if any(one.stock for one in found):
        rows.append(("  stock faster-whisper", [errors(one.stock) if one.stock else "" for one in found]))
    for corpus in dict.fromkeys(name for one in found for name in one.corpora):
        cells = [errors(one.corpora[corpus]) if corpus in one.corpora else "" for one in found]
        rows.append((f"  {corpus}", cells))
    rows += [
        ("onset -> first text shown, p50 / p95", [spread(one.first_partial) for one in found]),
        ("end of a word -> it stands, p50 / p95", [spread(one.commit_lag) for one in found]),
        ("end of speech -> final text, p50 / p95", [spread(one.finalization) for one in found]),
        ("words changed after being shown (UPWR)", [number(one.upwr, 3) for one in found]),
        (
            "committed text changed: utterances / words",
            [f"{one.committed_changed} / {one.committed_words_changed}" for one in found],
        ),
        ("engine seconds per second of talking", [number(one.engine.get("all"), 3) for one in found]),
    ]
    for job in dict.fromkeys(job for one in found for job in one.engine if job != "all"):
        rows.append((f"  {job}", [number(one.engine.get(job), 3) for one in found]))
    rows += [("final decodes / decoded again", [f"{one.finals} / {one.retried}" for one in found])]
    rows += [("engine seconds of finals", [number(one.finals_seconds, 1) for one in found])]
    rows += [("  of those that became the text", [number(one.texts_seconds, 1) for one in found])]
    if any(one.stock_seconds for one in found):
        rows.append(("  stock faster-whisper", [number(one.stock_seconds, 1) for one in found]))
    for kind in dict.fromkeys(kind for one in found for kind in one.quiet):
        cells = [
            f"{one.quiet[kind].rate:.1f} ({one.quiet[kind].words} in {one.quiet[kind].minutes:.1f} min)"
            if kind in one.quiet
            else ""
            for one in found
        ]
        rows.append((f"false words per minute: {kind}", cells))
    if any(one.faults for one in found):
        rows.append(("utterances not recognised for a fault", [str(one.faults) for one in found]))
    if any(one.broken for one in found):
        rows.append(("sessions that broke off", [str(one.broken) for one in found]))
    return rows


def errors(found: Errors) -> str:
    """A rate with its interval, where that says something."""
    if found.rate is None or found.interval is None:
        return "-"
    low, high = found.interval
    return f"{100 * found.rate:.1f} %" + (f" ({100 * low:.1f} to {100 * high:.1f})" if found.clips >= FEW else "")


def counts(found: Errors) -> str:
    """What the errors are."""
    score = found.score
    return f"{score.substituted} / {score.deleted} / {score.inserted} / {score.words}"


def spread(found: Spread) -> str:
    """A distribution in milliseconds."""
    if found.p50 is None or found.p95 is None:
        return "-"
    return f"{1000 * found.p50:.0f} / {1000 * found.p95:.0f} ms ({found.count})"


def number(value: float | None, digits: int) -> str:
    """A number, if there is one."""
    return "-" if value is None else f"{value:.{digits}f}"


def turns(found: list[Setting], corpora: Setting) -> Table:
    """One row per setting, then one per corpus of one of them."""
    table = Table(*TURN_COLUMNS, box=None, pad_edge=False)
    for one in found:
        table.add_row(one.name, *turn_cells(one.whole))
    for corpus, ends in corpora.corpora.items():
        table.add_row(f"  {corpora.name}: {corpus}", *turn_cells(ends))
    return table


TURN_COLUMNS = (
    "turn detection",
    "clips",
    "end of speech -> closed, p50 / p95",
    "inner pauses",
    "taken for the end",
    "cut elsewhere",
    "closed early",
    "never closed",
)


def turn_cells(ends: Ends) -> list[str]:
    """The figures of one row, without its name."""
    cut = "-" if ends.rate is None else f"{ends.cut} ({100 * ends.rate:.1f} %)"
    return [
        str(ends.clips),
        spread(ends.delay),
        str(ends.pauses),
        cut,
        str(ends.elsewhere),
        str(ends.early),
        str(ends.never),
    ]
