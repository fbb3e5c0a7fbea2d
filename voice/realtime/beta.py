"""The beta interface's names (`OpenAI-Beta: realtime=v1`), rewritten to GA names. Input only; output stays GA."""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_SHOWN_ONLY = ("id", "object", "expires_at", "client_secret")
"""Fields of a session as the server shows it; clients that send back what they were shown mean nothing by them."""


def _format(value: Any) -> Any:
    return {"type": _FORMATS.get(value, value)} if isinstance(value, str) else value


def _detection(value: Any) -> Any:
    return None if isinstance(value, dict) and value.get("type") == "none" else value


def _same(value: Any) -> Any:
    return value


_FLAT: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "modalities": (("output_modalities",), _same),
    "max_response_output_tokens": (("max_output_tokens",), _same),
    "voice": (("audio", "output", "voice"), _same),
    "speed": (("audio", "output", "speed"), _same),
    "output_audio_format": (("audio", "output", "format"), _format),
    "input_audio_format": (("audio", "input", "format"), _format),
    "input_audio_transcription": (("audio", "input", "transcription"), _same),
    "input_audio_noise_reduction": (("audio", "input", "noise_reduction"), _same),
    "turn_detection": (("audio", "input", "turn_detection"), _detection),
}
"""Flat beta field -> its place in GA, and what becomes of its value."""


def modernise(event: Json) -> Json:
    """The event with GA names: a new object where something had to change, else the same one."""
    match event:
        case {"type": "transcription_session.update", "session": dict() as session}:
            return {**event, "type": "session.update", "session": {"type": "transcription", **_settings(session)}}
        case {"type": "session.update", "session": dict() as session}:
            return {**event, "session": _settings(session)}
        case {"type": "response.create", "response": dict() as response}:
            return {**event, "response": _settings(response)}
        case _:
            return event


def _settings(given: Json) -> Json:
    """A session's or a response's settings; a GA field that is given too wins over its beta name."""
    kept = {name: value for name, value in given.items() if name not in _FLAT and name not in _SHOWN_ONLY}
    kept.pop("temperature", None)
    for name, (path, change) in _FLAT.items():
        if name in given:
            _put(kept, path, change(given[name]))
    return kept


def _put(target: Json, path: tuple[str, ...], value: Any) -> None:
    """Set what lies at the path, unless it is set; objects on the way are copied, the caller's stay as they are."""
    for name in path[:-1]:
        inner = target.get(name)
        if inner is not None and not isinstance(inner, dict):
            return
        target[name] = dict(inner or {})
        target = target[name]
    target.setdefault(path[-1], value)
