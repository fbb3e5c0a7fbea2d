"""Short-lived keys for pages and apps, which must not hold a real one.

A key carries all that it stands for, and the server's signature: nothing is stored, and servers that share a secret
open each other's. Whoever holds one can read the session in it, as the session's own client can.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

PREFIX = "ek_"
SHORTEST, USUAL, LONGEST = 10, 600, 7200
"""Seconds that a key may be valid, as in OpenAI's API."""
MOST_CHARACTERS = 6000
"""Of a key: it travels in a header, and servers and proxies take lines of 8 kB."""
SKEW = 60.0
"""Seconds by which the clocks of servers that share a secret may differ."""
NOBODY = "none"
"""Name of all callers without a key."""

_SIGNATURE = hashlib.sha256().digest_size


class BadTicket(Exception):
    """The key opens nothing; says why."""


class TooLarge(Exception):
    """More than a key can carry; says how much."""


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What a key stands for.

    Attributes:
        owner: mark of the key it was made with; names it, but only this server's secret could tell.
        expires_at: unix seconds.
        session: settings that calls begin with, as `session.update` takes them.
        salt: makes each key another.
    """

    owner: bytes
    expires_at: int
    session: dict[str, Any]
    salt: bytes


def name_of(key: str) -> str:
    """How logs and metrics call a key: nothing that could be used in its place."""
    return hashlib.sha256(key.encode()).hexdigest()[:6] if key else NOBODY


class Tickets:
    """Makes short-lived keys, and opens them.

    Args:
        keys: real ones; a short-lived key dies with the one that made it.
        secret: signs; servers that are to open each other's keys share it. Empty: this process has its own.
        now: unix seconds.
    """

    def __init__(self, keys: Iterable[str], secret: str = "", now: Callable[[], float] = time.time) -> None:
        self._secret = hashlib.sha256(secret.encode()).digest() if secret else secrets.token_bytes(32)
        self._owners = {self._mark(key): name_of(key) for key in ("", *keys)}
        self._marks = {name: mark for mark, name in self._owners.items()}
        self._now = now

    def make(self, owner: str, seconds: int, session: Mapping[str, Any]) -> tuple[str, int]:
        """A new key, and when it expires (unix seconds).

        Args:
            owner: name of the key that asks.
            seconds: how long it is to be valid.
            session: what calls with it begin with.

        Raises:
            TooLarge: the session does not fit into a key.
        """
        expires_at = int(self._now()) + seconds
        ticket = Ticket(self._marks[owner], expires_at, dict(session), secrets.token_bytes(6))
        packed = zlib.compress(msgspec.msgpack.encode(ticket), 9)
        key = PREFIX + _text(self._signature(packed) + packed)
        if len(key) > MOST_CHARACTERS:
            raise TooLarge(
                f"a key that carries it has {len(key)} characters, and at most {MOST_CHARACTERS} are allowed"
            )
        return key, expires_at

    def open(self, key: str) -> tuple[str, dict[str, Any]]:
        """Name of the key that made this one, and the session that calls begin with.

        Raises:
            BadTicket: it is none of ours, it has expired, or the key that made it is no longer known.
        """
        packed = self._checked(key)
        ticket = msgspec.msgpack.decode(zlib.decompress(packed), type=Ticket)
        left = ticket.expires_at - self._now()
        if left <= 0 or left > LONGEST + SKEW:
            raise BadTicket("the ephemeral key has expired; make a new one")
        owner = self._owners.get(ticket.owner)
        if owner is None:
            raise BadTicket("the key that made this ephemeral key is no longer valid")
        return owner, ticket.session

    def _checked(self, key: str) -> bytes:
        """What is signed. Before the signature is checked, nothing of it is looked at."""
        text = key.removeprefix(PREFIX)
        try:
            if len(key) > MOST_CHARACTERS:
                raise ValueError
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raw = b""
        signature, packed = raw[:_SIGNATURE], raw[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._signature(packed)) or _text(raw) != text:
            raise BadTicket("the ephemeral key is not valid here; make a new one")
        return packed

    def _signature(self, packed: bytes) -> bytes:
        return hmac.digest(self._secret, b"ticket" + packed, "sha256")

    def _mark(self, key: str) -> bytes:
        """A keyed hash, so that a weak key cannot be guessed from the short-lived ones made with it."""
        return hmac.digest(self._secret, b"owner" + key.encode(), "sha256")[:12]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
