"""What the commands share: options, mistakes, progress, files to write."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from voice.config import Config
from voice.models import Bars, Store
from voice.settings import load

WIDE = 160
"""Columns of a table where there is no terminal."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file; else $REJOINDER_CONFIG, else ./rejoinder.toml.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set one value; may be repeated.")
]


class Mistake(Exception):
    """Something the user can put right; the message says how."""


def load_config(file: Path | None, sets: list[str] | None) -> tuple[Config, dict[str, str]]:
    """The configuration, and where each value came from. Raises ConfigError."""
    return load(file, os.environ, sets or [])


def fetch(store: Store, names: list[str]) -> None:
    """Fetch models with a bar for each. Raises ModelError."""
    with Bars(Console(stderr=True)) as bars:
        store.fetch_all(names, bars)


def progress() -> Progress:
    """Bars on stderr that vanish at the end; none where there is no terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, refresh_per_second=4, disable=not console.is_terminal)


def wide_console() -> Console:
    """Standard output, wide enough for tables where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDE)


def written(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file. Raises Mistake."""
    try:
        write(path)
    except (OSError, RuntimeError) as error:
        raise Mistake(f"{path}: cannot write ({error}); choose another place") from error
