"""The event reader against the rules of the WHATWG HTML standard, cut anywhere."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voice.engines.sse import EventReader, EventTooLong

LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    return [wire[start:end] for start, end in pairwise(edges)]


def read(chunks: list[bytes], limit: int = 10_000) -> list[str]:
    reader = EventReader(limit)
    return [event for chunk in chunks for event in reader.feed(chunk)]


@given(
    events=st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    places=st.lists(st.integers(min_value=0), max_size=8),
)
@example([["a", "b"]], "\r\n", [8, 8])  # an empty chunk between the two halves of a line end
def test_events_survive_any_cut(events: list[list[str]], end: str, places: list[int]) -> None:
    wire = "".join("".join(f"data: {line}{end}" for line in lines) + end for lines in events).encode()
    assert read(cut(wire, places)) == ["\n".join(lines) for lines in events]


@given(junk=st.binary(max_size=200), places=st.lists(st.integers(min_value=0), max_size=8))
def test_junk_reads_the_same_in_any_cut(junk: bytes, places: list[int]) -> None:
    assert read(cut(junk, places)) == read([junk])


def test_comments_and_other_fields_are_skipped() -> None:
    assert read([b": ping\n\nevent: x\nid: 1\ndata:one\ndata: two\nretry: 5\n\n"]) == ["one\ntwo"]


def test_an_unfinished_event_is_not_reported() -> None:
    assert read([b"data: half\n"]) == []


def test_an_empty_data_field_is_an_event() -> None:
    assert read([b"data\n\n"]) == [""]


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 200],
        [b"data: " + b"x" * 200 + b"\n\n"],
        [b"data: xxxxxxxxxx\n"] * 20,
        [b"x"] * 200,
    ],
)
def test_an_event_beyond_the_limit_is_refused(chunks: list[bytes]) -> None:
    with pytest.raises(EventTooLong):
        read(chunks, limit=100)


def test_many_events_below_the_limit_are_not() -> None:
    assert len(read([b"data: xxxxxxxxxx\n\n" * 50], limit=100)) == 50
