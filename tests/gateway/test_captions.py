"""Captions over real sockets: a clip is spoken into a room, and read as events, live WebVTT and files."""

import io
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import webvtt
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from streams.audio import join, silence, write
from tests.live import DATA, PATIENCE, Live, Place, Watching, clip, said, word_errors
from voice.config import AuthConfig, CaptionsConfig
from voice.events import Word

pytestmark = pytest.mark.anyio

CLIPS = ("lj-LJ001-0004.flac", "lj-LJ001-0002.flac")
SITE = "https://site.example"


@dataclass
class Reader(Watching):
    """Reads a room's events as a page would."""

    cues: dict[int, dict[str, Any]] = field(default_factory=dict)
    tentative: list[str] = field(default_factory=list)
    mark: str = ""
    over: bool = False

    async def read(self, http: httpx.AsyncClient, room: str, most: float = 1e9, **options: Any) -> None:
        async with http.stream("GET", f"/v1/captions/{room}/events", timeout=PATIENCE, **options) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"
            lines = answer.aiter_lines()
            async for line in lines:
                name, _, value = line.partition(": ")
                if name == "id":
                    self.mark = value
                elif name == "event":
                    assert value == "end"
                    self.over = True
                elif name == "data" and not self.over:
                    self.take(json.loads(value))
                self.changed.set()
                if len(self.cues) >= most:
                    return

    def take(self, body: dict[str, Any]) -> None:
        for cue in body["cues"]:
            before = self.cues.get(cue["id"], {"text": "", "done": False})
            assert cue["text"].startswith(before["text"])
            assert not before["done"]
            self.cues[cue["id"]] = cue
        self.tentative.append(body["tentative"])

    @property
    def text(self) -> str:
        return " ".join(cue["text"] for _, cue in sorted(self.cues.items()))


async def test_what_is_said_into_a_room_is_read_as_events_as_live_webvtt_and_as_files(
    live: Live, tmp_path: Path
) -> None:
    config = CaptionsConfig(linger_seconds=1.0)
    reader, late, vtt = Reader(), Reader(), io.BytesIO()
    async with live.serving(captions=config) as place, anyio.create_task_group() as tasks:

        async def watch() -> None:
            async with place.http.stream("GET", "/v1/captions/hall.vtt", timeout=PATIENCE) as answer:
                assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
                async for chunk in answer.aiter_raw():
                    vtt.write(chunk)

        async with place.call("intent=transcription&room=hall") as caller:
            tasks.start_soon(reader.read, place.http, "hall")
            tasks.start_soon(watch)
            sound = join([clip(CLIPS[0]), silence(1.5, 24_000), clip(CLIPS[1])])
            await caller.speak(
                sound,
                lambda: [item for item in caller.seen.utterances.values() if item.transcript is not None][1:],
                speed=2,
            )
            tasks.start_soon(late.read, place.http, "hall")
            await late.until(lambda: late.cues)
        files = {kind: await place.http.get(f"/v1/captions/hall.{kind}?download") for kind in ("txt", "srt", "vtt")}
    heard = files["txt"].text
    assert word_errors(" ".join(map(said, CLIPS)), heard) < 0.2
    assert heard.split() == reader.text.split() == late.text.split()
    assert reader.over
    assert late.over
    assert any(reader.tentative)
    assert reader.tentative[-1] == ""
    grown, whole = webvtt.from_string(vtt.getvalue().decode()), webvtt.from_string(files["vtt"].text)
    assert [(c.start, c.end, c.text) for c in grown] == [(c.start, c.end, c.text) for c in whole]
    srt = tmp_path / "hall.srt"
    srt.write_text(files["srt"].text)
    assert [c.text for c in webvtt.from_srt(srt)] == [c.text for c in whole]
    assert " ".join(c.text for c in whole).split() == heard.split()
    times = [t for c in whole for t in (c.start_in_seconds, c.end_in_seconds)]
    assert times == sorted(times)
    assert abs(whole[-1].end_in_seconds - sound.seconds) < 3
    assert files["vtt"].headers["content-disposition"] == 'attachment; filename="hall.vtt"'


def line(place: Place, query: str, **options: Any) -> connect:
    """A bare connection."""
    return connect(f"ws://127.0.0.1:{place.port}/v1/realtime?{query}", proxy=None, **options)


async def test_a_second_publisher_is_told_why_not_and_takes_over_when_the_first_has_gone(live: Live) -> None:
    async with live.serving() as place:
        async with place.call("intent=transcription&room=hall"):
            async with line(place, "intent=transcription&room=hall") as second:
                await second.wait_closed()
            assert second.close_code == 1013
            assert "somebody else" in (second.close_reason or "")
        room = place.gateway.rooms.find("hall")
        assert room
        with anyio.fail_after(PATIENCE):
            while room.live:
                await room.change(1)
        async with place.call("intent=transcription&room=hall"):
            assert room.live


async def test_a_room_wants_a_name_and_a_transcription(live: Live) -> None:
    async with live.serving() as place:
        async with line(place, "intent=transcription&room=a.b") as nameless:
            await nameless.wait_closed()
        assert nameless.close_code == 1008
        assert "is no name" in (nameless.close_reason or "")
        with pytest.raises(InvalidStatus):
            async with line(place, "room=hall"):
                pass
        answer = await place.http.get("/v1/captions/nowhere/events")
        assert answer.status_code == 404
        assert answer.headers["retry-after"]
        for wrong in ("/v1/captions/nowhere.txt", "/v1/captions/hall.exe"):
            assert (await place.http.get(wrong)).status_code == 404
        assert (await place.http.get("/v1/captions/hall.vtt?mpegts=soon")).status_code == 400


async def test_fifty_readers_and_one_who_reads_nothing_all_the_time(live: Live) -> None:
    readers = [Reader() for _ in range(50)]
    async with live.serving(captions=CaptionsConfig(readers=51)) as place:
        with ExitStack() as publishing:
            publishing.enter_context(place.gateway.rooms.publish("hall"))
            room = place.gateway.rooms.find("hall")
            assert room
            async with (
                httpx.AsyncClient(
                    base_url=place.http.base_url, trust_env=False, limits=httpx.Limits(max_connections=60)
                ) as http,
                anyio.create_task_group() as tasks,
                await anyio.connect_tcp("127.0.0.1", place.port) as idle,
            ):
                await idle.send(b"GET /v1/captions/hall/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                for reader in readers:
                    tasks.start_soon(reader.read, http, "hall")
                for reader in readers:
                    await reader.until(lambda reader=reader: reader.mark)
                full = await http.get("/v1/captions/hall/events")
                assert (full.status_code, full.json()["error"]["code"]) == (503, "too_many_readers")
                for n in range(400):
                    room.update([Word(f"word{n}", n, n + 0.5)], "and " * 500)
                    if n % 20 == 0:
                        await readers[0].until(lambda n=n: f"word{n}" in readers[0].text)
                place.gateway.rooms.close()
        assert {reader.text for reader in readers} == {" ".join(f"word{n}" for n in range(400))}
        assert all(reader.over for reader in readers)


async def test_who_comes_back_goes_on_without_gap_or_double(live: Live) -> None:
    async with live.serving(captions=CaptionsConfig(linger_seconds=0.01)) as place:
        with place.gateway.rooms.publish("hall"):
            room = place.gateway.rooms.find("hall")
            assert room
            room.update([Word("One.", 0, 1), Word("Two", 1, 2)])
            reader, again = Reader(), Reader()
            await reader.read(place.http, "hall", most=2)
            room.update([Word("three.", 2, 3), Word("Four.", 3, 4)])
        await again.read(place.http, "hall", headers={"Last-Event-ID": reader.mark})
        assert sorted(again.cues) == [2, 3]
        assert again.text == "Two three. Four."


async def test_keys_and_tickets(live: Live) -> None:
    auth = AuthConfig(keys=("caller",), mode="keys")
    captions = CaptionsConfig(publish_keys=("speaker",), read_keys=("reader",), linger_seconds=60)
    async with live.serving(auth=auth, captions=captions) as place:
        room = "intent=transcription&room=hall"
        for key, query in (("caller", room), ("reader", room), ("caller", room.replace("r", "%72")), ("speaker", "")):
            with pytest.raises(InvalidStatus, match="401"):
                async with line(place, query, additional_headers={"Authorization": f"Bearer {key}"}):
                    pass
        async with line(place, room, additional_headers={"Authorization": "Bearer speaker"}):
            pass
        reading, wrong = {"Authorization": "Bearer reader"}, {"Authorization": "Bearer speaker"}
        assert (await place.http.get("/v1/captions/hall.txt")).status_code == 401
        assert (await place.http.get("/v1/captions/hall.txt", headers=wrong)).status_code == 401
        assert (await place.http.get("/v1/captions/hall.txt", headers=reading)).status_code == 200
        assert (await place.http.post("/v1/captions/hall/tickets", headers=wrong)).status_code == 401
        given = await place.http.post("/v1/captions/hall/tickets", headers=reading)
        ticket = given.json()["ticket"]
        assert given.status_code == 201
        assert (await place.http.get(f"/v1/captions/hall.txt?ticket={ticket}")).status_code == 200
        bearer = {"Authorization": f"Bearer {ticket}"}
        assert (await place.http.get("/v1/captions/hall.txt", headers=bearer)).status_code == 200
        assert (await place.http.get(f"/v1/captions/other.txt?ticket={ticket}")).status_code == 401
        assert (await place.http.get(f"/v1/captions/hall.txt?ticket=9{ticket}")).status_code == 401
        assert (await place.http.post("/v1/captions/hall/tickets", headers=bearer)).status_code == 401
        assert (await place.http.get("/v1/models", headers=bearer)).status_code == 401


async def test_pages_of_sites_that_are_named_may_read_and_others_may_not(live: Live) -> None:
    captions = CaptionsConfig(origins=(SITE,), frame_ancestors=("'self'", SITE))
    async with live.serving(captions=captions) as place:
        with place.gateway.rooms.publish("hall"):
            for origin, status in ((SITE, 200), ("https://other.example", 403)):
                answer = await place.http.get("/v1/captions/hall.txt", headers={"Origin": origin})
                assert answer.status_code == status
                assert answer.headers.get("access-control-allow-origin") == (SITE if status == 200 else None)
                assert "captions.origins" in answer.text or status == 200
                asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization,last-event-id"}
                may = await place.http.options("/v1/captions/hall/events", headers=asked)
                assert may.headers.get("access-control-allow-origin") == (SITE if status == 200 else None)
                assert "Last-Event-ID" in may.headers["access-control-allow-headers"]
            rebound = await place.http.get("/v1/captions/hall.txt", headers={"Host": "evil.example"})
            assert rebound.status_code == 403
        page = await place.http.get("/captions/hall")
        assert page.status_code == 200
        assert f"frame-ancestors 'self' {SITE}" in page.headers["content-security-policy"]
        assert "customElements" in (await place.http.get("/embed.js")).text


async def test_readers_are_let_go_when_the_server_stops(live: Live) -> None:
    reader = Reader()
    async with anyio.create_task_group() as tasks, live.serving() as place:
        with place.gateway.rooms.publish("hall"):
            tasks.start_soon(reader.read, place.http, "hall")
            await reader.until(lambda: reader.mark)
    assert reader.over


@pytest.mark.parametrize("way", ["file", "pipe", "room"])
async def test_the_command_captions_a_file_a_pipe_and_a_room(live: Live, tmp_path: Path, way: str) -> None:
    wav = tmp_path / "speech.wav"
    write(wav, clip(CLIPS[1], 22_050))
    source = "-" if way == "pipe" else str(wav)
    command = [sys.executable, "-m", "voice", "caption", source]
    async with live.serving() as place:
        if way == "room":
            command += ["--room", "hall", "--url", f"http://127.0.0.1:{place.port}"]
        done = await anyio.run_process(command, input=wav.read_bytes() if way == "pipe" else b"", cwd=DATA.parents[1])
        text = done.stdout.decode()
        if way == "room":
            assert text == ""
            text = (await place.http.get("/v1/captions/hall.vtt?download")).text
    cues = webvtt.from_string(text)
    assert word_errors(said(CLIPS[1]), " ".join(cue.text for cue in cues)) < 0.2
    assert cues[-1].end_in_seconds <= clip(CLIPS[1]).seconds + 0.5


async def test_the_command_says_what_is_wrong(live: Live, tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"RIFF, or is it?" * 9)
    wav = tmp_path / "speech.wav"
    write(wav, clip(CLIPS[1], 16_000))
    async with live.serving() as place:
        with place.gateway.rooms.publish("hall"):
            taken = ["--room", "hall", "--url", f"http://127.0.0.1:{place.port}"]
            for more, words in (
                ([str(noise)], "noise.wav"),
                ([str(wav), *taken], "somebody else"),
                ([str(wav), "--room", "hall", "--url", "http://127.0.0.1:9"], "cannot reach"),
            ):
                command = [sys.executable, "-m", "voice", "caption", *more]
                done = await anyio.run_process(command, check=False, cwd=DATA.parents[1])
                assert done.returncode == 2
                assert words in done.stderr.decode()
                assert len(done.stderr.decode().splitlines()) == 1
