"""Taps become exactly the declared metrics."""

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.metrics import Prometheus, watch_loop
from streams.virtual import VirtualLoop
from tests.taps import Recorder

DECLARED = {
    "sessions": "gauge",
    "sessions_refused": "counter",
    "turn_seconds": "histogram",
    "engine_seconds": "histogram",
    "rtf": "histogram",
    "llm_ttft_seconds": "histogram",
    "llm_tpot_seconds": "histogram",
    "llm_tokens": "counter",
    "llm_accept_length": "histogram",
    "llm_accept_rate": "histogram",
    "lane_wait_seconds": "histogram",
    "caption_readers": "gauge",
    "caption_rooms": "gauge",
    "lane_busy": "gauge",
    "llm_workers": "gauge",
    "edge_seconds": "gauge",
    "edge_dropped_seconds": "counter",
    "audio_seconds": "counter",
    "asr_second_looks": "counter",
    "concealed_seconds": "counter",
    "echo_seconds": "counter",
    "interjections": "counter",
    "key_seconds": "counter",
    "llm_leaked": "counter",
    "llm_failovers": "counter",
    "llm_fallbacks": "counter",
    "speculation": "counter",
    "speculation_wasted_seconds": "counter",
    "playout_gap_seconds": "histogram",
    "speculation_saved_seconds": "histogram",
    "cancel_to_idle_seconds": "histogram",
    "loop_lag_seconds": "histogram",
}


def samples(metrics: Prometheus) -> dict[tuple[str, tuple[str, ...]], float]:
    body, kind = metrics.render()
    assert kind.startswith("text/plain")
    families = text_string_to_metric_families(body.decode())
    return {
        (each.name, tuple(each.labels[key] for key in sorted(each.labels))): each.value
        for family in families
        for each in family.samples
    }


def test_the_names_are_those_users_know() -> None:
    families = text_string_to_metric_families(Prometheus().render()[0].decode())
    assert {family.name: family.type for family in families} == {f"rejoinder_{k}": v for k, v in DECLARED.items()}


def test_each_kind_of_call_lands_in_its_metric() -> None:
    metrics = Prometheus()
    metrics.count("edge_dropped_seconds_total", 0.5, edge="mic", reason="overflow")
    metrics.count("edge_dropped_seconds_total", 0.25, edge="mic", reason="overflow")
    metrics.shift("edge_seconds", 0.25, edge="mic")
    metrics.shift("edge_seconds", 0.5, edge="mic")
    metrics.shift("edge_seconds", -0.25, edge="mic")
    metrics.level("lane_busy", 2, lane="asr")
    metrics.level("lane_busy", 1, lane="asr")
    metrics.observe("turn_seconds", 0.4, mark="asr_final")
    metrics.observe("llm_ttft_seconds", 0.3)
    found = samples(metrics)
    assert found["rejoinder_edge_dropped_seconds_total", ("mic", "overflow")] == 0.75
    assert found["rejoinder_edge_seconds", ("mic",)] == 0.5
    assert found["rejoinder_lane_busy", ("asr",)] == 1
    assert found["rejoinder_turn_seconds_sum", ("asr_final",)] == 0.4
    assert found["rejoinder_turn_seconds_bucket", ("0.3", "asr_final")] == 0
    assert found["rejoinder_turn_seconds_bucket", ("0.4", "asr_final")] == 1
    assert found["rejoinder_llm_ttft_seconds_count", ()] == 1


def test_two_registries_do_not_share() -> None:
    one, other = Prometheus(), Prometheus()
    one.level("sessions", 3, transport="websocket")
    assert ("rejoinder_sessions", ("websocket",)) not in samples(other)


def test_an_undeclared_name_says_so() -> None:
    metrics = Prometheus()
    with pytest.raises(KeyError, match="no total named 'sessions' is declared"):
        metrics.count("sessions")
    with pytest.raises(KeyError, match="no histogram named 'mood' is declared"):
        metrics.observe("mood", 1)
    with pytest.raises(KeyError, match="no gauge named 'mood' is declared"):
        metrics.level("mood", 1)
    with pytest.raises(ValueError, match=r"[Ii]ncorrect label names"):
        metrics.level("sessions", 1, colour="red")


def test_the_loop_is_watched() -> None:
    tap = Recorder()

    async def watch() -> None:
        with anyio.move_on_after(1.1):
            await watch_loop(tap)

    anyio.run(watch, backend_options={"loop_factory": VirtualLoop})
    assert tap.calls == [("loop_lag_seconds", 0.0, {})] * 4
