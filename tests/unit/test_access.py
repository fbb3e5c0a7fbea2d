"""Who may call, decided from headers alone."""

import pytest

from voice.access import Denied, check, is_loopback, keys_required
from voice.config import AuthConfig

OPEN = AuthConfig()
LOCKED = AuthConfig(keys=("secret", "other"))
HERE = "127.0.0.1"
HOST = {"host": "localhost:8800"}


def status(auth: AuthConfig, host: str, headers: dict[str, str], offered: tuple[str, ...] = ()) -> int:
    try:
        check(auth, host, headers, offered)
    except Denied as denied:
        return denied.status
    return 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    assert not keys_required(OPEN, host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_any_other_address_needs_keys(host: str) -> None:
    assert not is_loopback(host)
    assert keys_required(OPEN, host)
    assert not keys_required(AuthConfig(mode="none"), host)


@pytest.mark.parametrize(
    ("headers", "offered", "answer"),
    [
        ({}, (), 401),
        ({"authorization": "Bearer secret"}, (), 200),
        ({"authorization": "bearer  other "}, (), 200),
        ({"authorization": "Bearer Secret"}, (), 401),
        ({"authorization": "Bearer sécret"}, (), 401),
        ({"authorization": "Bearer "}, (), 401),
        ({"authorization": "Basic secret"}, (), 401),
        ({}, ("realtime", "openai-insecure-api-key.secret"), 200),
        ({}, ("realtime", "openai-insecure-api-key."), 401),
        ({"authorization": "Bearer wrong"}, ("openai-insecure-api-key.secret",), 401),
    ],
)
def test_keys(headers: dict[str, str], offered: tuple[str, ...], answer: int) -> None:
    assert status(LOCKED, HERE, HOST | headers, offered) == answer
    assert status(OPEN, HERE, HOST | headers, offered) == 200


@pytest.mark.parametrize(
    ("origin", "answer"),
    [
        ("http://localhost:8800", 200),
        ("https://localhost:8800", 200),
        ("http://localhost:3000", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
        ("http://localhost:8800.evil.example", 403),
        ("https://app.example", 200),
    ],
)
def test_pages(origin: str, answer: int) -> None:
    auth = AuthConfig(origins=("https://app.example",))
    assert status(auth, HERE, HOST | {"origin": origin}) == answer
    assert status(AuthConfig(origins=("*",)), HERE, HOST | {"origin": origin}) == 200


@pytest.mark.parametrize(
    ("called", "answer"),
    [("evil.example:8800", 403), ("127.0.0.1:8800", 200), ("[::1]:8800", 200), ("[::1", 403), ("app.example", 200)],
)
def test_a_name_that_a_site_gave_the_server(called: str, answer: int) -> None:
    """DNS rebinding: the page and the server have the same name, and the page sends no origin when it only reads."""
    auth = AuthConfig(origins=("https://app.example",))
    assert status(auth, HERE, {"host": called}) == answer
    assert status(auth, HERE, {"host": called, "origin": f"http://{called}"}) == answer


def test_on_an_open_address_without_keys_pages_are_our_own() -> None:
    free = AuthConfig(mode="none")
    assert status(free, "0.0.0.0", {"host": "rejoinder:8800"}) == 200
    assert status(free, "0.0.0.0", {"host": "192.168.1.5:8800", "origin": "http://192.168.1.5:8800"}) == 200
    assert status(free, "0.0.0.0", {"host": "evil.example:8800", "origin": "http://evil.example:8800"}) == 403


def test_a_foreign_page_is_turned_away_before_its_key_is_looked_at() -> None:
    headers = HOST | {"origin": "https://evil.example", "authorization": "Bearer secret"}
    assert status(LOCKED, HERE, headers) == 403
    assert status(LOCKED, HERE, {"host": "voice.example", "origin": "https://voice.example"} | {
        "authorization": "Bearer secret"
    }) == 200  # fmt: skip
