"""Caption rooms: text only grows, and whoever reads whenever and however slowly ends with the same captions."""

import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.captions import Room
from voice.config import CaptionsConfig
from voice.events import Word
from voice.subtitles import CUE_SECONDS, LONGEST, cues

CONFIG = CaptionsConfig(backlog_cues=10_000, backlog_seconds=1e6)

texts = st.sampled_from(["I", "see", "well.", "really?", "everything", "مرحبا", "<b>", "extraordinarily"])


@dataclass(frozen=True)
class Update:
    words: list[Word]
    tentative: str
    pause: bool


@st.composite
def speeches(draw: st.DrawFn) -> list[Update]:
    """What a publisher does, in order."""
    now, made = 0.0, []
    for _ in range(draw(st.integers(0, 25))):
        words = []
        for _ in range(draw(st.integers(0, 6))):
            start = now + draw(st.sampled_from([0.0, 0.1, 1.5]))
            now = start + draw(st.sampled_from([0.1, 0.4, 2.5]))
            words.append(Word(draw(texts), start, now))
        made.append(Update(words, draw(st.sampled_from(["", "maybe", "may be"])), draw(st.booleans())))
    return made


@dataclass
class Reader:
    """What a client puts together of events, and every state of it."""

    version: int = 0
    shown: dict[int, dict[str, Any]] = field(default_factory=dict)
    tentative: str = ""
    texts: list[str] = field(default_factory=list)
    told: int = 0

    def read(self, room: Room) -> None:
        if room.version <= self.version:
            return
        mark, data = room.since(self.version).decode().strip().split("\n")
        self.version = room.version_of(mark.removeprefix("id: "))
        body = json.loads(data.removeprefix("data: "))
        for cue in body["cues"]:
            before = self.shown.get(cue["id"], {"text": "", "done": False})
            assert cue["text"].startswith(before["text"])
            assert not before["done"]
            self.shown[cue["id"]] = cue
        self.tentative = body["tentative"]
        self.texts.append(self.text)
        self.told += len(body["cues"])

    @property
    def text(self) -> str:
        return " ".join(cue["text"] for _, cue in sorted(self.shown.items()))


def play(speech: list[Update], room: Room, when: list[list[bool]], readers: list[Reader]) -> None:
    for n, update in enumerate(speech):
        room.update(update.words, update.tentative, pause=update.pause)
        for reader, reads in zip(readers, when, strict=True):
            if reads[n % len(reads)]:
                reader.read(room)
    room.close(1000.0)
    for reader in readers:
        reader.read(room)


@given(speeches(), st.lists(st.lists(st.booleans(), min_size=1, max_size=25), min_size=1, max_size=4))
def test_whoever_reads_whenever_ends_with_all_that_was_said_once_and_in_order(
    speech: list[Update], when: list[list[bool]]
) -> None:
    room = Room("test", CONFIG, 0.0)
    readers = [Reader() for _ in when]
    play(speech, room, when, readers)
    said = [word for update in speech for word in update.words]
    for reader in readers:
        assert reader.text == " ".join(word.text for word in said)
        assert reader.tentative == ""
        assert sorted(reader.shown) == list(range(1, len(reader.shown) + 1))
        assert all(cue["done"] for cue in reader.shown.values())
        for earlier, later in pairwise(reader.texts):
            assert later.startswith(earlier)


@given(speeches())
def test_cues_are_short_in_order_and_those_of_the_same_words_in_a_file(speech: list[Update]) -> None:
    room = Room("test", CONFIG, 0.0)
    for update in speech:
        room.update(update.words, update.tentative)
    room.close(0.0)
    shown = [each.cue for each in room.finished(0)]
    assert shown == cues(word for update in speech for word in update.words)
    for cue in shown:
        assert cue.start <= cue.end
        assert len(cue.text) <= LONGEST or " " not in cue.text
        assert cue.end - cue.start <= CUE_SECONDS or " " not in cue.text
    for before, after in pairwise(shown):
        assert before.end <= after.start


@given(speeches())
def test_times_never_go_back_even_where_a_publisher_s_do(speech: list[Update]) -> None:
    room = Room("test", CONFIG, 0.0)
    for update in reversed(speech):
        room.update(update.words, update.tentative, pause=update.pause)
    room.close(0.0)
    times = [time for each in room.finished(0) for time in (each.cue.start, each.cue.end)]
    assert times == sorted(times)


@given(speeches(), st.integers(1, 5))
def test_a_reader_who_comes_late_or_is_slow_is_told_no_more_than_the_backlog(speech: list[Update], most: int) -> None:
    room = Room("test", CaptionsConfig(backlog_cues=most, kept_cues=7), 0.0)
    reader = Reader()
    play(speech, room, [[False]], [reader])
    assert reader.told <= most
    assert len(room.finished(0)) <= most
    assert room.file("srt").count(" --> ") <= 7
    if reader.told:
        assert room.file("txt").strip().endswith(str(reader.shown[max(reader.shown)]["text"]))


@given(speeches(), st.integers(0, 25))
def test_a_reader_who_comes_back_goes_on_where_it_was(speech: list[Update], place: int) -> None:
    room, reader = Room("test", CONFIG, 0.0), Reader()
    for update in speech[:place]:
        room.update(update.words, update.tentative, pause=update.pause)
    reader.read(room)
    mark = room.mark(reader.version)
    for update in speech[place:]:
        room.update(update.words, update.tentative, pause=update.pause)
    assert room.version_of(mark) == reader.version
    reader.read(room)
    assert reader.text == " ".join(word.text for update in speech for word in update.words)
    other = Room("test", CONFIG, 0.0)
    assert other.version_of(mark) == 0


@given(speeches())
def test_all_who_have_seen_the_same_share_the_bytes(speech: list[Update]) -> None:
    room = Room("test", CONFIG, 0.0)
    for update in speech:
        before = room.version
        room.update(update.words, update.tentative, pause=update.pause)
        if room.version > before:
            assert room.since(before) is room.since(before)


@pytest.mark.anyio
async def test_waiting_readers_are_woken_by_a_change_and_by_the_end() -> None:
    room = Room("test", CaptionsConfig(linger_seconds=0.01), anyio.current_time())
    room.begin()
    woken: list[bool] = []

    async def read() -> None:
        woken.append(await room.change(60))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        room.update([Word("Hello", 0, 1)])
    assert woken == [True] * 3
    room.leave(anyio.current_time())
    assert not await room.change(60)
    assert room.over(anyio.current_time())
