"""Short-lived keys: who can open them, for how long, and what nobody can do with them."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.tickets import LONGEST, MOST_CHARACTERS, PREFIX, SKEW, BadTicket, Tickets, TooLarge, name_of

SECRET = "a secret of at least 32 characters"
OWNER = name_of("sesame")
NOW = 1_800_000_000.5

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def tickets(secret: str = SECRET, clock: Clock | None = None, keys: tuple[str, ...] = ("other", "sesame")) -> Tickets:
    return Tickets(keys, secret, clock or Clock())


@given(st.dictionaries(st.text(max_size=20), JSON, max_size=4))
def test_what_goes_in_comes_out_and_each_key_is_another(session: dict[str, Any]) -> None:
    made = tickets()
    key, expires_at = made.make(OWNER, 600, session)
    assert made.open(key) == (OWNER, session)
    assert expires_at == int(NOW) + 600
    assert key.startswith("ek_")
    assert key != made.make(OWNER, 600, session)[0]


@given(st.integers(0), st.characters(codec="ascii"))
def test_a_tampered_key_opens_nothing(place: int, instead: str) -> None:
    made = tickets()
    key, _ = made.make(OWNER, 600, {"instructions": "Be brief."})
    place = len(PREFIX) + place % (len(key) - len(PREFIX))
    changed = key[:place] + instead + key[place + 1 :]
    if changed == key:
        return
    with pytest.raises(BadTicket):
        made.open(changed)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_whatever_is_sent_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadTicket, match="not valid here"):
        tickets().open(f"ek_{text}")


@pytest.mark.parametrize("more", ["=", "==", "\n", " ", "A", "AAAA"])
def test_there_is_one_way_to_write_a_key(more: str) -> None:
    made = tickets()
    with pytest.raises(BadTicket):
        made.open(made.make(OWNER, 600, {})[0] + more)


def test_keys_expire_to_the_second_and_a_clock_that_goes_back_gives_no_more_than_the_longest() -> None:
    clock = Clock()
    made = tickets(clock=clock)
    key, expires_at = made.make(OWNER, LONGEST, {})
    for now, opens in (
        (expires_at - 0.01, True),
        (expires_at, False),
        (expires_at + 1e9, False),
        (NOW - SKEW + 1, True),
        (NOW - SKEW - 1, False),
        (0.0, False),
    ):
        clock.now = now
        if opens:
            made.open(key)
        else:
            with pytest.raises(BadTicket, match="expired"):
                made.open(key)


def test_servers_with_one_secret_open_each_others_keys_and_no_others() -> None:
    key, _ = tickets().make(OWNER, 600, {})
    assert tickets().open(key) == (OWNER, {})
    assert tickets(keys=("sesame",)).open(key) == (OWNER, {})
    for other in (tickets(secret="another secret of 32 characters.."), tickets(secret=""), tickets(secret="")):
        with pytest.raises(BadTicket, match="not valid here"):
            other.open(key)


def test_a_key_dies_with_the_one_that_made_it() -> None:
    key, _ = tickets().make(OWNER, 600, {})
    with pytest.raises(BadTicket, match="no longer valid"):
        tickets(keys=("other",)).open(key)


def test_a_key_says_nothing_about_the_one_that_made_it() -> None:
    """Whoever holds it could else try likely keys at home."""
    alike = [base64.urlsafe_b64decode(tickets(secret).make(OWNER, 600, {})[0][3:] + "===") for secret in ("", "")]
    for raw in alike:
        for hint in (b"sesame", OWNER.encode(), bytes.fromhex(OWNER)):
            assert hint not in raw


def test_a_session_that_does_not_fit_into_a_header_is_refused() -> None:
    made = tickets()
    prompt = " ".join(f"{number} is followed by {number + 1}." for number in range(200))
    key, _ = made.make(OWNER, 600, {"instructions": prompt})
    assert len(key) <= MOST_CHARACTERS
    assert json.dumps(made.open(key)[1]) == json.dumps({"instructions": prompt})
    with pytest.raises(TooLarge, match="at most 6000"):
        made.make(OWNER, 600, {"instructions": "".join(chr(0x4E00 + n * n % 20_000) for n in range(9000))})
    with pytest.raises(BadTicket):
        made.open("ek_" + "A" * 100_000)
