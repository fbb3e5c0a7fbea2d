"""Who publishes into a room and how words get there; sound out of a pipe; files."""

import io
import struct

import anyio
import numpy as np
import pytest

from streams.audio import Audio, write
from streams.pipe import Pipe
from tests.taps import Recorder
from voice import commands
from voice.captions import Publisher, Room, write_events, write_vtt
from voice.config import CaptionsConfig
from voice.events import Transcript, Word
from voice.history import Item
from voice.rest.captions import ReaderTickets
from voice.rooms import NoRoom, Rooms

pytestmark = pytest.mark.anyio


def words(text: str, start: float = 0.0) -> tuple[Word, ...]:
    return tuple(Word(word, start + n / 2, start + n / 2 + 0.4) for n, word in enumerate(text.split()))


def transcript(stable: str, tentative: str = "", *, final: bool = False, start: float = 0.0) -> Transcript:
    return Transcript(stable, tentative, final, 9.0, words=words(f"{stable} {tentative}", start))


def room(**settings: float) -> Room:
    return Room("test", CaptionsConfig(**settings), 0.0)  # type: ignore[arg-type]


def closed(item_id: str, at: float) -> commands.Closed:
    return commands.Closed(Item(item_id, audio=True, pending=True), None, at, True)


def committed(place: Room) -> str:
    return place.file("txt").replace("\n", " ").strip()


async def test_promised_words_are_committed_at_once_and_the_rest_when_the_utterance_is_over() -> None:
    place = room()
    publisher = Publisher(place)
    publisher.tell(commands.Opened("a", 0.0))
    publisher.tell(commands.Shown("a", transcript("", "I sea")))
    assert committed(place) == ""
    publisher.tell(commands.Shown("a", transcript("I", "see well")))
    assert committed(place) == "I"
    assert b'"tentative":"see well"' in place.since(0)
    publisher.tell(commands.Shown("a", transcript("I see well", final=True)))
    assert committed(place) == "I"  # the caller may still go on
    publisher.tell(closed("a", 1.5))
    publisher.tell(commands.Transcribed("a", "I see well"))
    assert committed(place) == "I see well"
    assert b'"tentative":""' in place.since(0)
    (shown,) = place.finished(0)
    assert (shown.cue.start, shown.cue.end) == (0.0, 1.4)


async def test_an_utterance_whose_text_comes_late_or_never() -> None:
    place = room()
    publisher = Publisher(place)
    publisher.tell(commands.Opened("a", 2.0))
    publisher.tell(commands.Shown("a", transcript("One", start=2.0)))
    publisher.tell(closed("a", 5.0))
    publisher.tell(commands.Opened("b", 6.0))
    publisher.tell(commands.Shown("b", transcript("", "next", start=6.0)))
    publisher.tell(commands.Transcribed("a", "One two three"))
    (shown,) = place.finished(0)
    assert (shown.cue.start, shown.cue.end, shown.cue.text) == (2.0, 5.0, "One two three")
    assert b'"tentative":"next"' in place.since(0)
    publisher.tell(closed("b", 7.0))
    publisher.tell(commands.Transcribed("b", "", "the recogniser failed"))
    assert b'"tentative":""' in place.since(0)
    assert committed(place) == "One two three"


async def test_what_was_committed_stays_whatever_the_final_text_says() -> None:
    place = room()
    publisher = Publisher(place)
    publisher.tell(commands.Opened("a", 0.0))
    publisher.tell(commands.Shown("a", transcript("I see")))
    publisher.tell(closed("a", 1.0))
    publisher.tell(commands.Transcribed("a", "Icy, yes"))
    assert committed(place) == "I see"


async def test_an_utterance_that_is_dropped_takes_its_words_with_it_but_not_those_of_others() -> None:
    place = room()
    publisher = Publisher(place)
    publisher.tell(commands.Opened("a", 0.0))
    publisher.tell(commands.Shown("a", transcript("", "first")))
    publisher.tell(closed("a", 1.0))
    publisher.tell(commands.Opened("b", 2.0))
    publisher.tell(commands.Shown("b", transcript("", "second")))
    publisher.tell(commands.Dropped())
    assert b'"tentative":"first"' in place.since(0)


async def test_one_publishes_at_a_time_and_the_next_goes_on_after_the_first_s_words() -> None:
    tap = Recorder()
    rooms = Rooms(CaptionsConfig(), tap)
    with rooms.publish("hall") as first:
        with pytest.raises(NoRoom, match="somebody else") as refused, rooms.publish("hall"):
            pass
        assert refused.value.status == 409
        first.tell(commands.Opened("a", 0.0))
        first.tell(commands.Shown("a", transcript("One two")))
    place = rooms.find("hall")
    assert place
    assert not place.live
    with rooms.publish("hall") as second:
        assert rooms.find("hall") is place
        second.tell(commands.Opened("a", 0.0))
        second.tell(commands.Shown("a", transcript("three")))
    one, two = place.finished(0)
    assert one.cue.text == "One two"
    assert two.cue.start >= one.cue.end


@pytest.mark.parametrize("name", ["", "a b", "../x", "a.vtt", "x" * 65, "ä"])
async def test_names_that_are_none(name: str) -> None:
    with pytest.raises(NoRoom, match="is no name"), Rooms(CaptionsConfig()).publish(name):
        pass


async def test_rooms_and_readers_are_bounded_and_a_room_goes_some_time_after_its_publisher() -> None:
    rooms = Rooms(CaptionsConfig(rooms=1, readers=1, linger_seconds=0.001))
    with pytest.raises(NoRoom, match="nobody captions"), rooms.read("one"):
        pass
    with rooms.publish("one"):
        with pytest.raises(NoRoom, match="caption rooms are in use"), rooms.publish("two"):
            pass
        with rooms.read("one") as place, pytest.raises(NoRoom, match="places are taken"), rooms.read("one"):
            pass
    while await place.change(1):
        pass
    assert rooms.find("one") is None
    with rooms.publish("two"):
        pass


async def test_a_slow_reader_is_told_the_newest_and_holds_nobody_up() -> None:
    place, told = room(), []
    place.begin()
    taking, may_go_on = anyio.Event(), anyio.Event()

    async def slow(data: bytes) -> None:
        told.append(data)
        taking.set()
        await may_go_on.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write_events, place, "", slow)
        await taking.wait()
        for n in range(1000):
            place.update([Word("word", n, n + 0.5)], f"maybe {n}")
        may_go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert len(told) == 2
        assert b"maybe 999" in told[1]
        assert told[1].count(b'"id"') <= 100
        place.close(anyio.current_time())
    assert told[-1] == b"event: end\ndata: {}\n\n"


async def test_live_webvtt_grows_by_whole_cues_and_ends_with_the_room() -> None:
    place, told = room(), []

    async def emit(data: bytes) -> None:
        told.append(data.decode())

    place.begin()
    place.update(words("This is <it>."))
    place.update(words("Not done", 3.0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write_vtt, place, "900000", emit)
        await anyio.wait_all_tasks_blocked()
        assert told == [
            "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\n",
            "00:00:00.000 --> 00:00:01.400\nThis is &lt;it&gt;.\n\n",
        ]
        place.close(anyio.current_time())
    assert told[2:] == ["00:00:03.000 --> 00:00:03.900\nNot done\n\n"]


async def test_the_files_of_a_room() -> None:
    place = room()
    place.update(words("One. Two & three."))
    assert place.file("txt") == "One.\nTwo & three.\n"
    assert place.file("srt").startswith("1\n00:00:00,000 --> 00:00:00,400\nOne.\n\n2\n")
    assert place.file("vtt").startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.400\nOne.\n\n")
    assert "Two &amp; three." in place.file("vtt")


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_pipe_reads_wav_and_bare_samples_in_pieces_of_any_size(size: int) -> None:
    samples = np.arange(-500, 500, dtype=np.int16)
    file = io.BytesIO()
    write(file, Audio(samples, 22_050))
    stereo = (
        struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            b"RIFF",
            2**32 - 1,
            b"WAVE",
            b"fmt ",
            16,
            1,
            2,
            8000,
            32_000,
            4,
            16,
            b"data",
            2**32 - 1,
        )
        + np.stack([samples, samples], 1).astype("<i2").tobytes()
    )
    for data, rate in ((file.getvalue(), 22_050), (samples.tobytes(), 16_000), (stereo, 8000)):
        pipe = Pipe(16_000)
        pieces = [pipe.push(data[at : at + size]) for at in range(0, len(data), size)]
        assert np.array_equal(np.concatenate(pieces)[: len(samples)], samples)
        assert pipe.rate == rate


async def test_a_pipe_refuses_what_is_not_pcm16() -> None:
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 3, 1, 8000, 32_000, 4, 32)
    with pytest.raises(ValueError, match="not PCM with 16 bits"):
        Pipe(16_000).push(header)
    with pytest.raises(ValueError, match="no sound"):
        Pipe(16_000).push(b"RIFF0000WAVE" + struct.pack("<4sI", b"junk", 2**31) + bytes(100_000))


async def test_a_ticket_is_for_one_room_and_some_time() -> None:
    now = [1000.0]
    tickets = ReaderTickets(60, lambda: now[0])
    ticket, expires = tickets.give("hall")
    assert expires == 1060
    assert tickets.good(ticket, "hall")
    assert not tickets.good(ticket, "other")
    assert not tickets.good(ticket.replace("1060", "9060"), "hall")
    assert not any(tickets.good(other, "hall") for other in ("", "-", "1060-", "1060-\u00e4", ticket[:-1]))
    assert not ReaderTickets(60, lambda: now[0]).good(ticket, "hall")
    now[0] = 1061
    assert not tickets.good(ticket, "hall")
