"""What a fetch shows the user: bars on a terminal, one line per file elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


class Reporter(Protocol):
    """Receives how far a fetch has come."""

    def note(self, text: str) -> None:
        """A line to show, without markup."""

    def file(self, name: str, total: int | None, done: int) -> AbstractContextManager[Callable[[int], None]]:
        """A download begins at `done` of `total` bytes; the yielded call takes the bytes that came since."""


class Unseen:
    """A fetch that nobody watches."""

    def note(self, text: str) -> None: ...

    @contextmanager
    def file(self, name: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
        yield lambda amount: None


class Bars:
    """Shows a fetch on a console; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def file(self, name: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
        if not self._console.is_terminal:
            size = f" ({decimal(total)})" if total else ""
            self.note(f"fetching {name}{size}" + (f", {decimal(done)} are here already" if done else ""))
        task = self._bars.add_task(name, total=total, completed=done)
        yield lambda amount: self._bars.advance(task, amount)
