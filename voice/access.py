"""Who may call: keys, and the origins of web pages. Pure, but for reading a request's headers."""

import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from voice.config import AuthConfig

KEY_PROTOCOL = "openai-insecure-api-key."
"""Browsers cannot set headers on a WebSocket; the vendors' clients put the key into a subprotocol of this prefix."""


class Denied(Exception):
    """The request may not go on; `status` is the HTTP answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def keys_required(auth: AuthConfig, host: str) -> bool:
    """Whether callers need a key, when the server is bound to `host`."""
    return auth.mode == "keys" or (auth.mode == "auto" and (bool(auth.keys) or not is_loopback(host)))


def check(auth: AuthConfig, host: str, headers: Mapping[str, str], subprotocols: Iterable[str] = ()) -> None:
    """Let a request pass, or not.

    A page of any site could call a server on its visitor's machine. So the origin of a page must be a configured one,
    or the server's own; and where no key is needed, the server must have been called by a name that no site can give
    itself (DNS rebinding): an address, "localhost", or the name it is bound to. A browser leaves the origin out when
    a page reads from where it came from, so a server on loopback looks at the name in every request.

    Args:
        host: what the server is bound to.
        headers: of the request, names in lower case.
        subprotocols: that a WebSocket client offers.

    Raises:
        Denied: 401 without a valid key, 403 for a page of a foreign origin or a call by a foreign name.
    """
    locked = keys_required(auth, host)
    origin, called = headers.get("origin"), headers.get("host", "")
    if not {origin, "*"} & set(auth.origins):
        if origin and _place(origin) != _place(f"//{called}"):
            raise Denied(403, f"pages of {origin!r} may not connect; add the origin to auth.origins")
        if not locked and (origin or is_loopback(host)) and not _trusted(called, host, auth.origins):
            raise Denied(403, f"this server is not called {called!r}; add http://{called} to auth.origins if it is")
    if locked and not _known(_key(headers, subprotocols), auth.keys):
        raise Denied(401, "a valid key is required; send it as 'Authorization: Bearer KEY'")


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
    return any(matches)
