"""Who gets in, over real sockets: keys, pages, models, places, and the end of the server."""

from typing import Any

import anyio
import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.live import CONFIG, Live, Place, clip
from voice.config import AuthConfig
from voice.realtime import server_events as ev

pytestmark = pytest.mark.anyio

KEYS = AuthConfig(keys=("sesame",))
BEARER = {"Authorization": "Bearer sesame"}
METRICS = {
    "rejoinder_sessions",
    "rejoinder_turn_seconds",
    "rejoinder_engine_seconds",
    "rejoinder_rtf",
    "rejoinder_llm_ttft_seconds",
    "rejoinder_llm_tpot_seconds",
    "rejoinder_llm_tokens_total",
    "rejoinder_lane_wait_seconds",
    "rejoinder_lane_busy",
    "rejoinder_edge_seconds",
    "rejoinder_audio_seconds_total",
}


async def refused(place: Place, path: str = "/v1/realtime", **options: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a handshake that must fail."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://127.0.0.1:{place.port}{path}", proxy=None, **options):
            pass
    response = caught.value.response
    error: dict[str, Any] = msgspec.json.decode(response.body or b"")["error"]
    return response.status_code, error


async def test_keys(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    async with live.serving(auth=KEYS) as place:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert (await refused(place, additional_headers=headers))[0] == 401
            answer = await place.http.get("/v1/models", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "access_denied"
        assert (await place.http.get("/v1/models", headers=BEARER)).status_code == 200
        for path in ("/healthz", "/readyz"):
            assert (await place.http.get(path)).status_code == 200
        async with place.call(additional_headers=BEARER) as caller:
            assert caller.line.subprotocol is None
        offered = ["realtime", "openai-insecure-api-key.sesame"]
        async with place.call(subprotocols=offered) as caller:
            assert caller.line.subprotocol == "realtime"
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


async def test_foreign_pages(live: Live) -> None:
    async with live.serving() as place:
        status, error = await refused(place, origin="https://evil.example")
        assert status == 403
        assert "auth.origins" in error["message"]
        rebound = {"Host": f"evil.example:{place.port}", "Origin": f"http://evil.example:{place.port}"}
        for headers in (rebound, {"Host": "evil.example"}, {"Origin": "http://["}, {"Host": "[::1"}):
            answer = await place.http.get("/v1/models", headers=headers)
            assert answer.status_code == 403, headers
            assert answer.json()["error"]["code"] == "access_denied"
        async with place.call(origin=f"http://127.0.0.1:{place.port}"):
            pass


async def test_names_of_models(live: Live) -> None:
    async with live.serving() as place:
        status, error = await refused(place, "/v1/realtime?model=hal-9000")
        assert status == 400
        assert error["code"] == "model_not_found"
        listed = (await place.http.get("/v1/models")).json()["data"]
        names = {entry["id"] for entry in listed}
        assert {"rejoinder", "gpt-realtime", "whisper-1", CONFIG.asr.model} <= names
        assert all(name in error["message"] for name in names)
        async with place.call("model=gpt-realtime") as caller:
            created = caller.events[0]
            assert isinstance(created, ev.Created)
            assert created.session.model == "gpt-realtime"


async def test_paths_and_methods_that_are_not_there(live: Live) -> None:
    async with live.serving() as place:
        for answer, status, code in (
            (await place.http.get("/v1/nothing"), 404, "not_found"),
            (await place.http.get("/v1/realtime"), 404, "not_found"),
            (await place.http.post("/v1/models"), 405, "method_not_allowed"),
        ):
            assert answer.status_code == status
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert answer.json()["error"]["code"] == code
        assert answer.headers["allow"] == "GET"
        status, error = await refused(place, "/v1/elsewhere")
        assert status == 404
        assert "/v1/realtime" in error["message"]


async def test_too_many_callers(live: Live) -> None:
    limits = msgspec.structs.replace(CONFIG.limits, sessions=2)
    async with live.serving(limits=limits) as place, place.call() as first:
        async with place.call():
            async with connect(f"ws://127.0.0.1:{place.port}/v1/realtime", proxy=None) as third:
                await third.wait_closed()
                assert third.close_code == 1013
                assert third.close_reason == "the server is full; try again in 5 s"
            assert (await first.ask("Hello", output_modalities=["text"])).text
        with anyio.fail_after(10):
            while place.gateway.admission.sessions > 1:
                await anyio.lowlevel.checkpoint()
        async with place.call() as fourth:
            assert (await fourth.ask("Hello", output_modalities=["text"])).text


async def test_a_running_answer_ends_before_the_server_does(live: Live) -> None:
    async with live.serving() as place, place.call() as talking:
        async with place.call() as silent:
            await talking.send(talking.client.create_item("Say hello."), talking.client.respond())
            await talking.until(lambda: "response.output_audio.delta" in talking.types())
            place.server.should_exit = True
            assert await silent.ended() == (1012, "the server restarts; connect again")
        assert talking.end is None
        ready = await place.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
        async with connect(f"ws://127.0.0.1:{place.port}/v1/realtime", proxy=None) as late:
            await late.wait_closed()
            assert (late.close_code, late.close_reason) == (1013, "the server is draining; try again in 30 s")
        assert await talking.ended() == (1012, "the server restarts; connect again")
        assert talking.types()[-1] == "response.done"
        assert talking.replies[0].status in ("completed", "incomplete")


async def test_draining_is_bounded(live: Live) -> None:
    limits = msgspec.structs.replace(CONFIG.limits, drain_seconds=0.5)
    async with live.serving(limits=limits) as place, place.call() as talking:
        await talking.send(talking.client.create_item("Tell me a long story."), talking.client.respond())
        await talking.until(lambda: "response.output_audio.delta" in talking.types())
        place.server.should_exit = True
        assert (await talking.ended())[0] == 1012
        assert talking.replies[0].status == "in_progress"


async def test_metrics_have_their_names_after_a_turn(live: Live) -> None:
    async with live.serving() as place:
        async with place.call() as caller:
            await caller.speak(clip("lj-LJ001-0002.flac"), lambda: "response.done" in caller.types())
        with anyio.fail_after(10):
            while place.gateway.admission.sessions:
                await anyio.lowlevel.checkpoint()
        body = (await place.http.get("/metrics")).text
        samples = dict(line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))
        assert {name.removesuffix("_count") for name in (key.split("{")[0] for key in samples)} >= METRICS
        for mark in ("asr_final", "endpoint", "llm_first_token", "first_clause", "first_audio", "voice_to_voice"):
            assert float(samples[f'rejoinder_turn_seconds_count{{mark="{mark}"}}']) >= 1, mark
        assert float(samples['rejoinder_sessions{transport="websocket"}']) == 0


async def test_health_needs_no_name_and_no_key(live: Live) -> None:
    async with live.serving(auth=KEYS) as place:
        answer = await place.http.get("/healthz", headers={"Host": "balancer.example"})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert isinstance(answer, httpx.Response)
