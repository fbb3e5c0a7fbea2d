"""Who may call, decided from headers alone."""

import pytest

from voice.access import Access, Caller, Denied, is_loopback, keys_required
from voice.config import AuthConfig
from voice.tickets import name_of

OPEN = AuthConfig()
LOCKED = AuthConfig(keys=("secret", "other"))
HERE = "127.0.0.1"
HOST = {"host": "localhost:8800"}


PATH = "/v1/realtime"


def status(auth: AuthConfig, host: str, headers: dict[str, str], offered: tuple[str, ...] = ()) -> int:
    try:
        Access(auth, host).check(PATH, headers, offered)
    except Denied as denied:
        return denied.status
    return 200


def denied(access: Access, path: str, key: str) -> tuple[int, str]:
    with pytest.raises(Denied) as caught:
        access.check(path, HOST | {"authorization": f"Bearer {key}"})
    return caught.value.status, caught.value.reason


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


def test_a_caller_is_named_by_a_hash_and_strangers_are_one() -> None:
    access = Access(LOCKED, HERE)
    assert access.check(PATH, HOST | {"authorization": "Bearer secret"}) == Caller(name_of("secret"))
    assert name_of("secret") == "2bb80d"  # sha256
    for key in ("", "any", "x" * 10_000):  # nobody can make up names, and with them more books than there are keys
        assert Access(OPEN, HERE).check(PATH, HOST | {"authorization": f"Bearer {key}"}) == Caller("none")


@pytest.mark.parametrize("auth", [LOCKED, OPEN])
def test_an_ephemeral_key_opens_conversations_and_nothing_else(auth: AuthConfig) -> None:
    access = Access(auth, HERE)
    owner = name_of("secret") if auth.keys else "none"
    key, _ = access.tickets.make(owner, 600, {"instructions": "Be brief."})
    for path in ("/v1/realtime", "/v1/realtime/calls", "/v1/realtime/calls/rtc_1/hangup", "/v1/models"):
        for headers, offered in (({"authorization": f"Bearer {key}"}, ()), ({}, (f"openai-insecure-api-key.{key}",))):
            assert access.check(path, HOST | headers, offered) == Caller(owner, {"instructions": "Be brief."})
    for path in (
        "/v1/realtime/client_secrets", "/v1/realtimes", "/v1/realtime/", "/v1/realtime/callsign", "/v1/audio/speech",
        "/metrics", "/openapi.json",
    ):  # fmt: skip
        assert denied(access, path, key) == (403, "scope"), path


def test_a_bad_ephemeral_key_is_refused_even_where_none_is_needed() -> None:
    """Else a call would silently begin without the settings it was to have."""
    for auth in (OPEN, LOCKED):
        assert denied(Access(auth, HERE), PATH, "ek_made-up") == (401, "ticket")


def test_a_key_of_our_own_may_look_like_an_ephemeral_one() -> None:
    auth = AuthConfig(keys=("ek_mine",))
    assert Access(auth, HERE).check("/metrics", HOST | {"authorization": "Bearer ek_mine"}).owner == name_of("ek_mine")


def test_ephemeral_keys_made_without_a_key_do_not_open_a_server_that_needs_one() -> None:
    secret = "s" * 32
    key, _ = Access(AuthConfig(secret=secret), HERE).tickets.make("none", 600, {})
    assert denied(Access(AuthConfig(keys=("secret",), secret=secret), HERE), PATH, key) == (401, "ticket")


def test_a_foreign_page_with_an_ephemeral_key_is_turned_away() -> None:
    access = Access(LOCKED, HERE)
    key, _ = access.tickets.make(name_of("secret"), 600, {})
    with pytest.raises(Denied, match=r"auth\.origins"):
        access.check(PATH, HOST | {"origin": "https://evil.example", "authorization": f"Bearer {key}"})


def test_an_empty_key_is_none() -> None:
    assert status(AuthConfig(keys=("",)), HERE, HOST) == 401
