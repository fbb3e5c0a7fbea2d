"""The caption rooms of a server: who may publish in one, or read it, and until when."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from streams.tap import SILENT, Tap
from voice.captions import Publisher, Room
from voice.config import CaptionsConfig

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NoRoom(Exception):
    """Nothing can be published there, or read; the message says why and what to do.

    Attributes:
        status: of the HTTP answer.
        code: one word for programs.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(slots=True)
class Rooms:
    """All rooms of a server."""

    config: CaptionsConfig
    tap: Tap = SILENT
    readers: int = 0
    _rooms: dict[str, Room] = field(default_factory=dict)

    @contextmanager
    def publish(self, name: str) -> Iterator[Publisher]:
        """Feed a room while the context lasts; the room is made if there is none.

        Raises:
            NoRoom: the name is none, somebody else publishes there, or there are too many rooms.
        """
        if not NAME.fullmatch(name):
            message = f"room {name[:80]!r} is no name: use 1 to 64 letters, digits, '-' and '_'"
            raise NoRoom(400, "invalid_value", message)
        now, room = anyio.current_time(), self.find(name)
        if room and room.live:
            message = (
                f"room {name!r} is being captioned by somebody else; wait until they leave, or choose another name"
            )
            raise NoRoom(409, "room_taken", message)
        if room is None:
            if len(self._rooms) >= self.config.rooms:
                raise NoRoom(
                    503, "too_many_rooms", f"all {self.config.rooms} caption rooms are in use; try again later"
                )
            room = self._rooms[name] = Room(name, self.config, now)
        room.begin()
        self._count()
        try:
            yield Publisher(room, max(now - room.began, room.position))
        finally:
            room.leave(anyio.current_time())
            self._count()

    def find(self, name: str) -> Room | None:
        """The room of that name, if it is not over."""
        now = anyio.current_time()
        self._rooms = {known: room for known, room in self._rooms.items() if not room.over(now)}
        return self._rooms.get(name)

    @contextmanager
    def read(self, name: str) -> Iterator[Room]:
        """Be one of the readers of a room while the context lasts.

        Raises:
            NoRoom: there is no such room, or too many readers.
        """
        room = self.find(name)
        if room is None:
            raise NoRoom(404, "no_such_room", f"nobody captions a room {name[:80]!r} now; try again later")
        if self.readers >= self.config.readers:
            raise NoRoom(503, "too_many_readers", f"all {self.config.readers} places are taken; try again later")
        self.readers += 1
        self._count()
        try:
            yield room
        finally:
            self.readers -= 1
            self._count()

    def close(self) -> None:
        """End all rooms, and so let go of all readers."""
        for room in self._rooms.values():
            room.close(anyio.current_time())

    def _count(self) -> None:
        self.tap.level("caption_readers", self.readers)
        self.tap.level("caption_rooms", sum(room.live for room in self._rooms.values()))
