"""Server-sent events without I/O: bytes in, event data out (WHATWG HTML Living Standard, section 9.2.6)."""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLong(Exception):
    """An event is larger than the reader admits."""


class EventReader:
    """Reads the `data` of each event from a byte stream that may be cut anywhere.

    Comments and the fields `event`, `id` and `retry` are skipped: chat servers use none of them.
    """

    def __init__(self, limit: int) -> None:
        """Admit events of at most `limit` bytes."""
        self._limit = limit
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[str]:
        """The data of all events that `chunk` completes, in order.

        Raises:
            EventTooLong: a line or an event is larger than the limit.
        """
        if not chunk:
            return []
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        self._after_cr = chunk.endswith(b"\r")
        events = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._rest) > self._limit:
            raise EventTooLong
        return events

    def _line(self, line: bytes) -> str | None:
        if not line:
            event = b"\n".join(self._data).decode(errors="replace") if self._data else None
            self._data, self._size = [], 0
            return event
        field, _, value = line.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            self._size += len(value) + 1
            if self._size > self._limit:
                raise EventTooLong
            self._data.append(value)
        return None
