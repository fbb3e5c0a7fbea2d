"""What one key may use: calls at the same time, minutes of calls and of recordings a day."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from streams.admission import Refused
from streams.tap import SILENT, Tap
from voice.config import LimitsConfig

Use = Literal["calls", "files"]
DAY = 86_400
BUSY_RETRY = 5
"""Seconds after which one of a key's calls may have ended."""


class OverLimit(Refused):
    """A key has used what it may.

    Attributes:
        reason: the setting that says so: "key_sessions", "key_minutes" or "key_file_minutes".
    """

    def __init__(self, reason: str, message: str, retry_after: int) -> None:
        Exception.__init__(self, f"{message}; try again in {retry_after} s")
        self.reason = reason
        self.retry_after = retry_after


@dataclass
class _Book:
    """One key's use; seconds are those of `day`, counted from 1970 in UTC."""

    calls: int = 0
    day: int = 0
    call_seconds: float = 0.0
    file_seconds: float = 0.0


class Quota:
    """Keeps the books of all keys, in memory: a restart begins new ones, and each server has its own.

    Args:
        limits: `key_sessions`, `key_minutes`, `key_file_minutes`; 0 sets no limit.
        tap: receives `sessions_refused_total` and `key_seconds_total`.
        now: unix seconds.
    """

    def __init__(self, limits: LimitsConfig, tap: Tap = SILENT, now: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._tap = tap
        self._now = now
        self._books: defaultdict[str, _Book] = defaultdict(_Book)

    @contextmanager
    def admit(self, owner: str) -> Iterator["Meter"]:
        """Count a call of a key while the context lasts.

        Args:
            owner: the key's name; names must come from a known set, so that there are not more books than keys.

        Raises:
            OverLimit: the key has as many calls as it may, or no minutes left today.
        """
        self.check_calls(owner)
        self._book(owner).calls += 1
        try:
            yield Meter(self, owner)
        finally:
            self._book(owner).calls -= 1

    def check_calls(self, owner: str) -> None:
        """Raises OverLimit where `admit` would."""
        most = self._limits.key_sessions
        over = self.spent(owner)
        if most and self._book(owner).calls >= most:
            over = OverLimit("key_sessions", f"this key has {most} calls already, and may have no more", BUSY_RETRY)
        if over:
            raise self._counted(over)

    def spent(self, owner: str) -> OverLimit | None:
        """That a key has no minutes of calls left today, if so."""
        minutes = self._limits.key_minutes
        if not minutes or self._book(owner).call_seconds < minutes * 60:
            return None
        return OverLimit(
            "key_minutes", f"the {minutes:g} minutes that this key has a day are used up", self._midnight()
        )

    def check_files(self, owner: str, seconds: float = 0.0) -> None:
        """Raises OverLimit where a key has not so many seconds of recordings left today, or none at all."""
        allowed, used = self._limits.key_file_minutes * 60, self._book(owner).file_seconds
        if allowed and (used >= allowed or used + seconds > allowed):
            left = max(0.0, allowed - used)
            message = f"this key may use {allowed / 60:g} minutes of recordings a day, and has {left:.0f} s left"
            raise self._counted(OverLimit("key_file_minutes", message, self._midnight()))

    def charge(self, owner: str, use: Use, seconds: float) -> None:
        """Write seconds of a call, of a recording or of spoken text into the books."""
        book = self._book(owner)
        if use == "calls":
            book.call_seconds += seconds
        else:
            book.file_seconds += seconds
        self._tap.count("key_seconds_total", seconds, key=owner, use=use)

    def _book(self, owner: str) -> _Book:
        book, day = self._books[owner], int(self._now() // DAY)
        if day > book.day:  # a clock that is set back does not give the day anew
            book.day, book.call_seconds, book.file_seconds = day, 0.0, 0.0
        return book

    def _midnight(self) -> int:
        return DAY - int(self._now() % DAY)

    def _counted(self, over: OverLimit) -> OverLimit:
        self._tap.count("sessions_refused_total", reason=over.reason)
        return over


class Meter:
    """Charges one call: the time it lasts, or the sound that was sent, whichever is more."""

    def __init__(self, quota: Quota, owner: str) -> None:
        self.owner = owner
        self._quota = quota
        self._charged = 0.0

    def charge(self, lasted: float, heard: float) -> None:
        """Charge what has come since the last charge; both in seconds from the call's beginning."""
        due = max(lasted, heard, self._charged)
        self._quota.charge(self.owner, "calls", due - self._charged)
        self._charged = due

    def spent(self) -> OverLimit | None:
        """That the key has no minutes left, if so."""
        return self._quota.spent(self.owner)
