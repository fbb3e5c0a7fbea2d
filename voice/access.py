"""Who may call: keys, and the origins of web pages. Pure, but for reading a request's headers and the time."""

import ipaddress
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from voice.config import AuthConfig
from voice.tickets import NOBODY, PREFIX, BadTicket, Tickets, name_of

KEY_PROTOCOL = "openai-insecure-api-key."
"""Browsers cannot set headers on a WebSocket; the vendors' clients put the key into a subprotocol of this prefix."""
CALLS = "/v1/realtime/calls"
CONVERSATION = "/v1/realtime"
MODELS = "/v1/models"
"""What a page asks for to learn whether its key is good."""


class Denied(Exception):
    """The request may not go on.

    Attributes:
        status: the HTTP answer.
        reason: one word for the metrics.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        owner: name of the key, which tells nothing about it; that of the real one where an ephemeral key was sent.
        session: settings that calls begin with, as `session.update` takes them.
    """

    owner: str = NOBODY
    session: Mapping[str, Any] = field(default_factory=dict)


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Who asks, of a request (its ASGI scope) that was let in."""
    caller: Caller = scope["state"]["caller"]
    return caller


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def keys_required(auth: AuthConfig, host: str) -> bool:
    """Whether callers need a key, when the server is bound to `host`."""
    return auth.mode == "keys" or (auth.mode == "auto" and (bool(auth.keys) or not is_loopback(host)))


class Access:
    """Lets requests pass, or not.

    A page of any site could call a server on its visitor's machine. So the origin of a page must be a configured one,
    or the server's own; and where no key is needed, the server must have been called by a name that no site can give
    itself (DNS rebinding): an address, "localhost", or the name it is bound to. A browser leaves the origin out when
    a page reads from where it came from, so a server on loopback looks at the name in every request.

    Args:
        host: what the server is bound to.
        now: unix seconds.

    Attributes:
        tickets: makes ephemeral keys.
    """

    def __init__(self, auth: AuthConfig, host: str, now: Callable[[], float] = time.time) -> None:
        self.tickets = Tickets(auth.keys, auth.secret, now)
        self._auth = auth
        self._host = host
        self._locked = keys_required(auth, host)

    def check(self, path: str, headers: Mapping[str, str], subprotocols: Iterable[str] = ()) -> Caller:
        """Who asks for a path.

        Args:
            headers: of the request, names in lower case.
            subprotocols: that a WebSocket client offers.

        Raises:
            Denied: 401 without a valid key, 403 for a page of a foreign origin, a call by a foreign name, or an
                ephemeral key where a real one is needed.
        """
        self.check_page(headers)
        key = _key(headers, subprotocols)
        if _known(key, self._auth.keys):
            return Caller(name_of(key))
        if key.startswith(PREFIX):
            return self._open(key, path)
        if self._locked:
            raise Denied(401, "key", "a valid key is required; send it as 'Authorization: Bearer KEY'")
        return Caller()

    def check_page(self, headers: Mapping[str, str]) -> None:
        """Look at the page a request comes from alone. Raises Denied."""
        origin, called = headers.get("origin"), headers.get("host", "")
        if {origin, "*"} & set(self._auth.origins):
            return
        if origin and _place(origin) != _place(f"//{called}"):
            message = f"pages of {origin[:200]!r} may not connect; add the origin to auth.origins"
            raise Denied(403, "origin", message)
        exposed = not self._locked and (origin or is_loopback(self._host))
        if exposed and not _trusted(called, self._host, self._auth.origins):
            called = called[:200]
            message = f"this server is not called {called!r}; add http://{called} to auth.origins if it is"
            raise Denied(403, "name", message)

    def may_read(self, origin: str) -> bool:
        """Whether scripts of a page of another site may see the answers."""
        return bool({origin, "*"} & set(self._auth.origins))

    def _open(self, key: str, path: str) -> Caller:
        try:
            owner, session = self.tickets.open(key)
        except BadTicket as bad:
            raise Denied(401, "ticket", str(bad)) from bad
        if self._locked and owner == NOBODY:
            raise Denied(401, "ticket", "the ephemeral key was made without a key, and one is required now")
        if path not in (CONVERSATION, CALLS, MODELS) and not path.startswith(f"{CALLS}/"):
            raise Denied(403, "scope", f"an ephemeral key opens {CONVERSATION} and {CALLS} alone, not {path[:100]}")
        return Caller(owner, session)


def _place(url: str) -> tuple[str, str] | None:
    """Host and port of a URL, and the host alone; None where there is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return (parts.netloc, parts.hostname) if parts.hostname else None


def _trusted(called: str, host: str, origins: Iterable[str]) -> bool:
    """Whether no foreign site can have given the server the name it was called by."""
    place = _place(f"//{called}")
    if place is None:
        return not called
    return _is_address(place[1]) or place[1] in ("localhost", host) or place in map(_place, origins)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _key(headers: Mapping[str, str], subprotocols: Iterable[str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    return next((name.removeprefix(KEY_PROTOCOL) for name in subprotocols if name.startswith(KEY_PROTOCOL)), "")


def _known(key: str, keys: Iterable[str]) -> bool:
    """Whether the key is one of those; takes as long for a nearly right one as for a wrong one."""
    matches = [secrets.compare_digest(key.encode(), known.encode()) for known in keys]
    return any(matches) and key != ""
