"""Taps become Prometheus metrics."""

from collections.abc import Mapping
from typing import TypeVar

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from streams.tap import Tap

M = TypeVar("M", Counter, Gauge, Histogram)

_PREFIX = "rejoinder_"
_LOOK_EVERY = 0.25

_SECONDS = (
    0.005,
    0.01,
    0.02,
    0.035,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.65,
    0.8,
    1.0,
    1.5,
    2.0,
    3.0,
    5.0,
    10.0,
)
_SHORT = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_RATIO = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0)
_SHARE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_TOKENS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)

Labels = tuple[str, ...]

_COUNTERS: dict[str, tuple[str, Labels]] = {
    "sessions_refused_total": ("Callers turned away.", ("reason",)),
    "key_seconds_total": ("Seconds that a key used; it is named by the start of its sha256.", ("key", "use")),
    "llm_tokens_total": ("Tokens of the language model, as its engine counted them.", ("kind",)),
    "llm_leaked_total": ("Cancelled generations that were still running two seconds later.", ("engine",)),
    "llm_fallbacks_total": ("Answers that the fallback model gave, by why the first did not.", ("reason",)),
    "llm_failovers_total": ("Answers that began anew on another language model server.", ()),
    "edge_dropped_seconds_total": ("Media seconds (or items) an edge threw away.", ("edge", "reason")),
    "audio_seconds_total": ("Caller audio by what became of it: received = decoded + gated + dropped.", ("state",)),
    "concealed_seconds_total": ("Caller audio lost on the way, by what stands in for it.", ("by",)),
    "echo_seconds_total": ("Our own voice, heard through the caller's microphone and not taken for speech.", ("by",)),
    "asr_second_looks_total": ("Texts that were doubted and heard again.", ("job",)),
    "speculation_total": ("Replies begun before the caller's turn was certainly over.", ("outcome",)),
    "speculation_wasted_seconds_total": ("Time from asking the language model to withdrawing its reply.", ("outcome",)),
    "interjections_total": ("Voices over an answer, by what they turned out to be.", ("meaning",)),
}

_GAUGES: dict[str, tuple[str, Labels]] = {
    "sessions": ("Sessions under way.", ("transport",)),
    "caption_readers": ("Readers of caption rooms.", ()),
    "caption_rooms": ("Caption rooms that somebody feeds.", ()),
    "llm_workers": ("Language model servers that are ready, where there are several.", ()),
    "lane_busy": ("Calls running on an engine's lane.", ("lane",)),
    "edge_seconds": ("Media seconds (or items) held by the edges of all sessions.", ("edge",)),
}

_HISTOGRAMS: dict[str, tuple[str, Labels, tuple[float, ...]]] = {
    "turn_seconds": ("Marks of a turn, from the end of the caller's speech.", ("mark",), _SECONDS),
    "engine_seconds": ("Time of one engine call.", ("engine", "job"), _SECONDS),
    "rtf": ("Engine time per second of audio.", ("engine", "job"), _RATIO),
    "llm_ttft_seconds": ("Request to first token of the language model.", (), _SECONDS),
    "llm_tpot_seconds": ("Time per token after the first.", (), _SHORT),
    "llm_accept_length": ("Mean tokens accepted per verification step of an answer.", (), _TOKENS),
    "llm_accept_rate": ("Share of the drafted tokens of an answer that were accepted.", (), _SHARE),
    "playout_gap_seconds": ("Silence inside a spoken answer, because its next words were late.", (), _SECONDS),
    "lane_wait_seconds": ("Wait for a thread of an engine's lane.", ("lane", "priority"), _SECONDS),
    "speculation_saved_seconds": ("Time a speculative reply won.", ("outcome",), _SECONDS),
    "cancel_to_idle_seconds": ("Cancelling a reply to its engine being idle.", ("engine",), _SECONDS),
    "loop_lag_seconds": ("How late the event loop runs a timer.", (), _SHORT),
}


class Prometheus:
    """A tap with a registry of its own. Names are those of the metrics without the prefix `rejoinder_`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own `*_created` series
        self._registry = CollectorRegistry()
        self._counters = {
            name: Counter(_PREFIX + name, text, labels, registry=self._registry)
            for name, (text, labels) in _COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(_PREFIX + name, text, labels, registry=self._registry)
            for name, (text, labels) in _GAUGES.items()
        }
        self._histograms = {
            name: Histogram(_PREFIX + name, text, labels, buckets=buckets, registry=self._registry)
            for name, (text, labels, buckets) in _HISTOGRAMS.items()
        }

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        """Add to a total.

        Raises:
            KeyError: no total of this name is declared.
        """
        _series(self._counters, "total", name, labels).inc(amount)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Put a value into a histogram.

        Raises:
            KeyError: no histogram of this name is declared.
        """
        _series(self._histograms, "histogram", name, labels).observe(value)

    def level(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge.

        Raises:
            KeyError: no gauge of this name is declared.
        """
        _series(self._gauges, "gauge", name, labels).set(value)

    def shift(self, name: str, by: float, /, **labels: str) -> None:
        """Add to a gauge.

        Raises:
            KeyError: no gauge of this name is declared.
        """
        _series(self._gauges, "gauge", name, labels).inc(by)

    def render(self) -> tuple[bytes, str]:
        """All metrics in the Prometheus text format: body and content type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4


def _series(metrics: Mapping[str, M], kind: str, name: str, labels: dict[str, str]) -> M:
    if name not in metrics:
        raise KeyError(f"no {kind} named {name!r} is declared; add it to the tables in streams/metrics.py")
    return metrics[name].labels(**labels) if labels else metrics[name]


async def watch_loop(tap: Tap) -> None:
    """Report `loop_lag_seconds` four times a second, until cancelled."""
    while True:
        due = anyio.current_time() + _LOOK_EVERY
        await anyio.sleep_until(due)
        tap.observe("loop_lag_seconds", max(0.0, anyio.current_time() - due))
