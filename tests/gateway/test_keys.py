"""Ephemeral keys, and the limits of a key, over real sockets: what they open, and how a caller is told of the end."""

from typing import Any

import anyio
import msgspec
import openai
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.live import CONFIG, DATA, Caller, Live, Place, clip
from voice.config import AuthConfig, LimitsConfig
from voice.realtime import server_events as ev
from voice.tickets import name_of

pytestmark = pytest.mark.anyio

KEYS = AuthConfig(keys=("sesame", "other"), origins=("https://app.example",))
SECRETS = "/v1/realtime/client_secrets"
SDP = {"Content-Type": "application/sdp"}
PAGE = {"Origin": "https://app.example"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


BEARER = bearer("sesame")


def limits(**changed: float) -> LimitsConfig:
    return msgspec.structs.replace(CONFIG.limits, **changed)


def client(place: Place, key: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{place.port}/v1", api_key=key, max_retries=0)


def browser(key: str) -> dict[str, Any]:
    """How a page's WebSocket carries a key."""
    return {"subprotocols": ["realtime", f"openai-insecure-api-key.{key}"]}


async def ephemeral(place: Place, key: str = "sesame", **body: Any) -> str:
    answer = await place.http.post(SECRETS, json=body, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["value"])


async def refused(place: Place, **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://127.0.0.1:{place.port}/v1/realtime", proxy=None, **options)
    error: dict[str, Any] = msgspec.json.decode(caught.value.response.body or b"")["error"]
    return caught.value.response.status_code, error


def created(caller: Caller) -> Any:
    event = caller.events[0]
    assert isinstance(event, ev.Created)
    return event.session


async def test_the_official_client_makes_a_key_and_a_page_calls_with_it(live: Live) -> None:
    async with live.serving(auth=KEYS) as place, client(place, "sesame") as real:
        made = await real.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={
                "type": "realtime",
                "model": "gpt-realtime",
                "instructions": "Say yes.",
                "audio": {"output": {"voice": "marin", "speed": 1.25}},
                "output_modalities": ["text"],
            },
        )
        assert made.value.startswith("ek_")
        assert made.session.type == "realtime"
        assert made.session.id.startswith("sess_")
        assert (made.session.model, made.session.instructions) == ("gpt-realtime", "Say yes.")
        async with place.call(**browser(made.value)) as caller:
            begun = created(caller)
            assert (begun.model, begun.instructions) == ("gpt-realtime", "Say yes.")
            assert begun.output_modalities == ["text"]
            assert (begun.audio.output.voice, begun.audio.output.speed) == ("marin", 1.25)
            assert (await caller.ask("Hello")).text
            await caller.update(instructions="Say no.")  # what a key gives, its session may change
        async with client(place, made.value) as page, page.realtime.connect(model="gpt-realtime") as line:
            first = await line.recv()
            assert first.type == "session.created"
            assert first.session.instructions == "Say yes."


async def test_keys_of_transcription_sessions(live: Live) -> None:
    async with live.serving(auth=KEYS) as place, client(place, "sesame") as real:
        made = await real.realtime.client_secrets.create(session={"type": "transcription"})
        assert made.session.type == "transcription"
        async with place.call(**browser(made.value)) as caller:
            assert created(caller).type == "transcription"
        plain = await ephemeral(place)
        async with place.call("intent=transcription", **browser(plain)) as caller:
            assert created(caller).type == "transcription"


async def test_an_ephemeral_key_opens_nothing_else(live: Live) -> None:
    async with live.serving(auth=KEYS) as place:
        key = await ephemeral(place)
        async with client(place, key) as page:
            assert (await page.models.list()).data
            for ask in (
                lambda: page.realtime.client_secrets.create(),
                lambda: page.audio.speech.create(input="Hello", model="tts-1", voice="alloy"),
                lambda: page.audio.transcriptions.create(model="whisper-1", file=DATA / "jfk.flac"),
            ):
                with pytest.raises(openai.PermissionDeniedError, match="an ephemeral key opens"):
                    await ask()
        for path in ("/metrics", "/openapi.json"):
            assert (await place.http.get(path, headers=bearer(key))).status_code == 403
        offer = await place.http.post("/v1/realtime/calls", content="no sdp", headers=bearer(key) | SDP)
        assert offer.status_code == 400  # let in, and not understood
        for bad in (key[:-4] + "AAAA", "ek_", "ek_=", "ek_" + "A" * 5000):
            assert (await refused(place, additional_headers=bearer(bad)))[0] == 401
        status, error = await refused(place, **browser(key[:-4] + "AAAA"))
        assert (status, error["code"]) == (401, "access_denied")
        assert key[3:20] not in (await place.http.get("/metrics", headers=BEARER)).text


async def test_without_keys_ephemeral_ones_work_all_the_same(live: Live) -> None:
    async with live.serving() as place:
        made = (await place.http.post(SECRETS, json={"session": {"instructions": "Say yes."}})).json()
        async with place.call(**browser(made["value"])) as caller:
            assert created(caller).instructions == "Say yes."
        assert (await refused(place, **browser("ek_made-up")))[0] == 401


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b"\xff", 400, None),
        (b"[" * 100_000, 400, None),
        (b" " * 300_000, 413, None),
        (b'{"session": []}', 400, "session"),
        (b'{"session": "realtime"}', 400, "session"),
        (b'{"session": {"type": "telepathy"}}', 400, "session.type"),
        (b'{"session": {"model": "hal-9000"}}', 400, "session.model"),
        (b'{"session": {"audio": {"output": {"voice": "nobody"}}}}', 400, "session.audio.output.voice"),
        (b'{"session": {"audio": {"output": {"speed": "fast"}}}}', 400, "session.audio.output.speed"),
        (b'{"session": {"tempo": 1}}', 400, "session.tempo"),
        (b'{"session": {"truncation": ' + b"[" * 200 + b"]" * 200 + b"}}", 400, None),
        (b'{"session": {"truncation": 1' + b"0" * 30 + b"}}", 400, None),
        (b'{"expires_after": 600}', 400, "expires_after"),
        (b'{"expires_after": {"seconds": 9}}', 400, "expires_after.seconds"),
        (b'{"expires_after": {"seconds": 7201}}', 400, "expires_after.seconds"),
        (b'{"expires_after": {"seconds": "600"}}', 400, "expires_after.seconds"),
        (b'{"expires_after": {"anchor": "last_use", "seconds": 60}}', 400, "expires_after.anchor"),
        (b'{"expires": 1}', 400, "expires"),
        (b"", 200, None),
        (b'{"expires_after": null, "session": null}', 200, None),
        (b'{"expires_after": {"seconds": 10}}', 200, None),
    ],
)
async def test_requests_for_keys(live: Live, body: bytes, status: int, param: str | None) -> None:
    async with live.serving(auth=KEYS) as place:
        answer = await place.http.post(SECRETS, content=body, headers=BEARER)
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json().keys() == {"value", "expires_at", "session"}
        else:
            error = answer.json()["error"]
            assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_a_session_too_large_for_a_key(live: Live) -> None:
    async with live.serving(auth=KEYS) as place:
        prompt = "".join(chr(0x4E00 + n * n % 20_000) for n in range(9000))
        answer = await place.http.post(SECRETS, json={"session": {"instructions": prompt}}, headers=BEARER)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "session")
        assert "session.update" in answer.json()["error"]["message"]
        usual = "You are a friendly assistant of the museum. Answer in one or two short sentences. " * 60
        async with place.call(**browser(await ephemeral(place, session={"instructions": usual}))) as caller:
            assert created(caller).instructions == usual


async def test_pages_of_other_sites_ask_first(live: Live) -> None:
    """CORS: a page of a configured origin may call and read the answer, errors included; others may do neither."""
    async with live.serving(auth=KEYS) as place:
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
        for path in ("/v1/realtime/calls", SECRETS):
            answer = await place.http.options(path, headers=PAGE | ask)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
            assert "POST" in answer.headers["access-control-allow-methods"]
            foreign = await place.http.options(path, headers=ask | {"Origin": "https://evil.example"})
            assert foreign.status_code == 403
            assert "access-control-allow-origin" not in foreign.headers
        told = await place.http.get("/v1/models", headers=PAGE)
        assert (told.status_code, told.headers["access-control-allow-origin"]) == (401, "https://app.example")
        listed = await place.http.get("/v1/models", headers=PAGE | BEARER)
        assert (listed.status_code, listed.headers["vary"]) == (200, "Origin")
        own = await place.http.get("/v1/models", headers=BEARER)
        assert "access-control-allow-origin" not in own.headers


async def ended_at_once(place: Place, **options: Any) -> tuple[int, str]:
    async with connect(f"ws://127.0.0.1:{place.port}/v1/realtime", proxy=None, **options) as line:
        with anyio.fail_after(10):
            await line.wait_closed()
        return line.close_code or 0, line.close_reason or ""


async def test_calls_of_one_key_at_the_same_time(live: Live) -> None:
    async with live.serving(auth=KEYS, limits=limits(key_sessions=1)) as place:
        page = browser(await ephemeral(place))
        async with place.call(additional_headers=BEARER) as first:
            for options in ({"additional_headers": BEARER}, page):  # an ephemeral key counts as the one that made it
                code, reason = await ended_at_once(place, **options)
                assert (code, reason) == (1013, "this key has 1 calls already, and may have no more; try again in 5 s")
            answer = await place.http.post("/v1/realtime/calls", content="v=0", headers=BEARER | SDP)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
            async with place.call(additional_headers=bearer("other")):
                pass
            assert (await first.ask("Hello", output_modalities=["text"])).text
        with anyio.fail_after(10):
            while place.gateway.admission.sessions:
                await anyio.lowlevel.checkpoint()
        async with place.call(**page):
            pass
        body = (await place.http.get("/metrics", headers=BEARER)).text
        assert 'rejoinder_sessions_refused_total{reason="key_sessions"} 3.0' in body
        assert f'rejoinder_key_seconds_total{{key="{name_of("sesame")}",use="calls"}}' in body
        assert "sesame" not in body


async def test_a_call_whose_minutes_run_out_is_told_and_may_hear_its_answer_out(live: Live) -> None:
    async with live.serving(auth=KEYS, limits=limits(key_minutes=0.02)) as place:
        async with place.call(additional_headers=BEARER) as talking:
            await talking.send(talking.client.create_item("Say hello."), talking.client.respond())
            code, reason = await talking.ended()
            assert code == 1008
            assert reason.startswith("the 0.02 minutes that this key has a day are used up; try again in ")
            told = [event.error for event in talking.events if isinstance(event, ev.Error)]
            assert [error.code for error in told] == ["rate_limit_exceeded"]
            assert talking.replies[0].status in ("completed", "incomplete")
        assert (await ended_at_once(place, additional_headers=BEARER))[0] == 1013
        async with place.call(additional_headers=bearer("other")):
            pass


def charged(live: Live) -> float:
    """Seconds of calls in the book of the key."""
    name = f'rejoinder_key_seconds_total{{key="{name_of("sesame")}",use="calls"}} '
    lines = live.metrics.render()[0].decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


async def test_sound_faster_than_it_sounds_costs_as_much(live: Live) -> None:
    query, sound = "intent=transcription", clip("jfk.flac")
    assert sound.seconds > 6
    async with (
        live.serving(auth=KEYS, limits=limits(key_minutes=0.1)) as place,
        place.call(query, additional_headers=BEARER) as caller,
    ):
        before, began = charged(live), anyio.current_time()
        await caller.play(sound, speed=50)
        assert (await caller.ended())[0] == 1008
        lasted = anyio.current_time() - began
    assert charged(live) - before > max(lasted, 6)


async def test_minutes_of_recordings(live: Live) -> None:
    async with live.serving(auth=KEYS, limits=limits(key_file_minutes=0.3)) as place, client(place, "sesame") as real:
        ask, file = real.audio.transcriptions.create, DATA / "jfk.flac"  # 11 s of the 18
        assert (await ask(model="whisper-1", file=file)).text
        with pytest.raises(openai.RateLimitError, match="has 7 s left") as caught:
            await ask(model="whisper-1", file=file)
        assert int(caught.value.response.headers["retry-after"]) > 0
        for sentence in ("One two three four five six seven eight nine ten. " * 6, "Hello."):
            spoken = real.audio.speech.create(input=sentence, model="tts-1", voice="alloy", response_format="pcm")
            if sentence == "Hello.":
                with pytest.raises(openai.RateLimitError):
                    await spoken
            else:
                assert len((await spoken).content) > 7 * 48_000
        async with client(place, "other") as other:
            assert (await other.audio.transcriptions.create(model="whisper-1", file=file)).text


async def test_length_of_one_recording(live: Live) -> None:
    async with live.serving(limits=limits(file_seconds=5)) as place, client(place, "any") as real:
        with pytest.raises(openai.BadRequestError, match="5"):
            await real.audio.transcriptions.create(model="whisper-1", file=DATA / "jfk.flac")
