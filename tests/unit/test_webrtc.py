"""Packets in order, sound without holes; pure, with real Opus."""

import random
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.opus import FRAME, RATE, TICKS, Decoder, Encoder
from streams.rtp import PATIENCE, Heard, Hearing, Packet, Reorder
from streams.webrtc import BadOffer, _understand
from tests.gateway.test_webrtc_link import OFFER, WHOLE

COUNT = 60


def speech(seconds: float = COUNT / 50) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * 220 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 2).astype(np.int16)


def packets(first: int = 65_500, clock: int = 2**32 - 20 * TICKS) -> list[Packet]:
    """A second of sound; numbers and clock wrap around in it."""
    encoder, sound = Encoder(), speech()
    return [
        Packet(
            (first + n) % 2**16,
            (clock + n * TICKS) % 2**32,
            bytes(encoder.encode(sound[n * FRAME : (n + 1) * FRAME], n * TICKS)),
        )
        for n in range(COUNT)
    ]


PACKETS = packets()


def hear(sent: list[Packet], source: int = 1, hearing: Hearing | None = None) -> list[Heard]:
    hearing = hearing or Hearing()
    return [heard for packet in sent for heard in hearing.push(source, packet)]


def length(heard: list[Heard]) -> int:
    return sum(len(one.samples) for one in heard)


@given(st.sets(st.integers(0, COUNT - 1)), st.integers(0, 2), st.randoms(use_true_random=False))
def test_packets_come_out_once_and_in_order(lost: set[int], by: int, chance: random.Random) -> None:
    arrivals = [(n + chance.uniform(0, by), packet) for n, packet in enumerate(PACKETS) if n not in lost]
    reorder = Reorder()
    out = [ready for _, packet in sorted(arrivals, key=lambda one: one[0]) for ready in reorder.push(packet)]
    places = [PACKETS.index(packet) for packet in out]
    assert places == sorted(set(places))
    if by <= 1 and not lost:
        assert len(places) >= COUNT - PATIENCE
    for packet in PACKETS[:3]:
        assert reorder.push(packet) == [] or not out  # late ones are not heard again


def test_what_arrives_in_order_is_not_held_back() -> None:
    reorder = Reorder()
    assert [reorder.push(packet) for packet in PACKETS] == [[packet] for packet in PACKETS]


def test_one_that_comes_late_but_soon_enough_is_heard() -> None:
    reorder = Reorder()
    a, b, c, d = PACKETS[:4]
    assert [reorder.push(packet) for packet in (a, c, d, b)] == [[a], [], [], [b, c, d]]


@given(st.sets(st.integers(1, COUNT - 5), max_size=20))
def test_lost_packets_do_not_move_what_comes_after(lost: set[int]) -> None:
    heard = hear([packet for n, packet in enumerate(PACKETS) if n not in lost])
    assert length(heard) == COUNT * FRAME
    assert sum(one.guessed + one.silent for one in heard) == pytest.approx(len(lost) * FRAME / RATE, abs=0.001)


def test_what_was_lost_is_guessed_and_fades() -> None:
    whole = np.concatenate([heard.samples for heard in hear(PACKETS)])
    lossy = np.concatenate([heard.samples for heard in hear([*PACKETS[:20], *PACKETS[30:]])])
    assert len(lossy) == len(whole)
    lost = slice(20 * FRAME, 22 * FRAME)
    assert np.abs(lossy[lost].astype(int)).mean() > 0.4 * np.abs(whole[lost].astype(int)).mean()
    assert not lossy[26 * FRAME : 29 * FRAME].any()
    (heard,) = [one for one in hear([*PACKETS[:20], *PACKETS[30:]]) if one.silent]
    assert (heard.guessed, heard.silent) == (pytest.approx(0.1), pytest.approx(0.1))


def test_a_pause_of_the_sender_is_silence_and_not_a_loss() -> None:
    later = [Packet(packet.sequence, (packet.timestamp + 25 * TICKS) % 2**32, packet.payload) for packet in PACKETS]
    heard = hear([*PACKETS[:20], *later[20:]])
    assert length(heard) == (COUNT + 25) * FRAME
    assert not any(one.guessed or one.silent for one in heard)


def test_after_a_long_pause_the_stream_just_goes_on() -> None:
    later = [Packet(packet.sequence, (packet.timestamp + 10**7) % 2**32, packet.payload) for packet in PACKETS]
    assert length(hear([*PACKETS[:20], *later[20:]])) == COUNT * FRAME


def test_another_source_is_another_stream() -> None:
    hearing = Hearing()
    assert length(hear(PACKETS, 1, hearing)) == COUNT * FRAME
    assert length(hear(packets(7, 123), 2, hearing)) == COUNT * FRAME


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_garbage_is_survived(payloads: list[bytes]) -> None:
    hearing = Hearing()
    hear(PACKETS[:5], 1, hearing)
    rubbish = [
        Packet((first.sequence + n + 5) % 2**16, (first.timestamp + (n + 5) * TICKS) % 2**32, payload)
        for n, payload in enumerate(payloads)
        for first in PACKETS[:1]
    ]
    for heard in hear(rubbish, 1, hearing):
        assert len(heard.samples) <= 2 * RATE


def test_the_decoder_has_no_guess_before_it_has_heard_anything() -> None:
    assert not len(Decoder().conceal())
    with pytest.raises(ValueError, match="no Opus"):
        Decoder().decode(b"\xff\xff\xff")


@given(st.data())
def test_a_damaged_offer_is_refused_or_understood(data: st.DataObject) -> None:
    offer = OFFER + "".join(WHOLE)
    start = data.draw(st.integers(0, len(offer)))
    damaged = offer[:start] + data.draw(st.text(max_size=20)) + offer[start + data.draw(st.integers(0, 40)) :]
    with suppress(BadOffer):
        assert "m=audio" in _understand(damaged)


def test_addresses_by_multicast_dns_are_left_out() -> None:
    ours = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
    theirs = "a=candidate:1 1 udp 1 0a1b2c3d.local 9 typ host\r\n"
    understood = _understand(OFFER + "".join(WHOLE) + ours + theirs)
    assert ours in understood
    assert theirs not in understood
