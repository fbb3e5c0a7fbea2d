"""A session's settings: what they are at the start, what an update makes of them, how they are shown."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from voice.realtime.codec import Format
from voice.realtime.refused import Refused
from voice.realtime.shapes import (
    AudioShape,
    FormatShape,
    InputShape,
    Modality,
    NoiseReductionShape,
    OutputShape,
    SessionShape,
    Tokens,
    ToolChoice,
    ToolChoiceShape,
    ToolShape,
    TranscriptionShape,
    TurnDetectionShape,
    VoiceShape,
)

Eagerness = Literal["low", "medium", "high", "auto"]


class SessionDefaults(Struct, frozen=True, kw_only=True):
    """What a session begins with, and which names it knows.

    Attributes:
        model: name shown; `models` are the names a client may ask for, aliases included.
        voice: name shown; `voices` maps every name a client may ask for to the voice it means.
        transcription_model: name shown in sessions that only transcribe; `transcription_models` as `models`.
        expires_at: when the session ends, unix seconds.
    """

    expires_at: int
    model: str = "rejoinder"
    models: tuple[str, ...] = ("rejoinder",)
    voice: str
    voices: Mapping[str, str]
    transcription_model: str = "rejoinder"
    transcription_models: tuple[str, ...] = ("rejoinder",)
    instructions: str = ""
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    max_output_tokens: Tokens = "inf"


class TurnDetection(Struct, frozen=True, kw_only=True):
    """How the end of a turn is found. "semantic_vad" has an eagerness instead of a silence."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    idle_timeout_ms: int | None = None
    eagerness: Eagerness = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class Transcription(Struct, frozen=True, kw_only=True):
    """How the caller's speech is written down; None is for the recogniser to find out."""

    model: str
    language: str | None = None
    prompt: str | None = None


class Session(Struct, frozen=True, kw_only=True):
    """The settings in force.

    Attributes:
        kind: "transcription" sessions never answer.
        voice: as the client named it; `SessionDefaults.voices` says which voice that is.
        turn_detection: None: the client commits turns and asks for answers by itself.
        transcription: None: the client does not want the caller's words.
    """

    kind: Literal["realtime", "transcription"]
    model: str
    modality: Modality = "audio"
    instructions: str
    input_format: Format = Format.PCM
    output_format: Format = Format.PCM
    voice: str
    speed: float = 1.0
    turn_detection: TurnDetection | None
    transcription: Transcription | None
    tools: tuple[ToolShape, ...] = ()
    tool_choice: ToolChoice = "auto"
    max_output_tokens: Tokens
    noise_reduction: NoiseReductionShape | None = None
    truncation: Any = "auto"
    include: tuple[str, ...] = ()


def first_session(defaults: SessionDefaults, transcription: bool) -> Session:
    """A session's settings before its client has said anything."""
    return Session(
        kind="transcription" if transcription else "realtime",
        model=defaults.model,
        instructions=defaults.instructions,
        voice=defaults.voice,
        turn_detection=_detection(defaults),
        transcription=Transcription(model=defaults.transcription_model) if transcription else None,
        max_output_tokens=defaults.max_output_tokens,
    )


def _detection(defaults: SessionDefaults) -> TurnDetection:
    return TurnDetection(
        threshold=defaults.threshold,
        prefix_padding_ms=defaults.prefix_padding_ms,
        silence_duration_ms=defaults.silence_duration_ms,
    )


# Update -----------------------------------------------------------------------------------------------------


def merge(session: Session, given: SessionShape, defaults: SessionDefaults) -> Session:
    """The settings with those given replaced, all or none.

    null switches turn_detection, transcription and noise_reduction off; elsewhere it leaves the setting as it is.

    Raises:
        Refused: a value is not known here.
    """
    changes: dict[str, Any] = {}
    if given.type is not UNSET:
        changes["kind"] = given.type
    if model := given.model:
        changes["model"] = known(model, defaults.models, "session.model", "model")
    if given.output_modalities:
        changes["modality"] = modality(given.output_modalities)
    for name in ("instructions", "tool_choice", "max_output_tokens", "truncation"):
        value = getattr(given, name)
        if value is not None and value is not UNSET:
            changes[name] = value
    if given.tools is not None and given.tools is not UNSET:
        changes["tools"] = tuple(given.tools)
    if given.include is not None and given.include is not UNSET:
        changes["include"] = tuple(given.include)
    if given.audio:
        changes |= _input(session, given.audio.input, defaults) | _output(given.audio.output, defaults)
    return replace(session, **changes)


def _input(session: Session, given: InputShape | UnsetType | None, defaults: SessionDefaults) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if not given:
        return changes
    if given.format:
        changes["input_format"] = read_format(given.format, "session.audio.input.format")
    if given.noise_reduction is not UNSET:
        changes["noise_reduction"] = given.noise_reduction
    if given.transcription is not UNSET:
        changes["transcription"] = _transcription(session.transcription, given.transcription, defaults)
    if given.turn_detection is not UNSET:
        changes["turn_detection"] = _merge_detection(session.turn_detection, given.turn_detection, defaults)
    return changes


def _output(given: OutputShape | UnsetType | None, defaults: SessionDefaults) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if not given:
        return changes
    if given.format:
        changes["output_format"] = read_format(given.format, "session.audio.output.format")
    if given.voice:
        changes["voice"] = read_voice(given.voice, defaults, "session.audio.output.voice")
    if given.speed:
        changes["speed"] = given.speed
    return changes


def _transcription(
    current: Transcription | None, given: TranscriptionShape | None, defaults: SessionDefaults
) -> Transcription | None:
    if given is None:
        return None
    base = current or Transcription(model=defaults.transcription_model)
    path = "session.audio.input.transcription.model"
    model = known(given.model, defaults.transcription_models, path, "model") if given.model else base.model
    language = base.language if given.language is UNSET else given.language or None
    prompt = base.prompt if given.prompt is UNSET else given.prompt or None
    return Transcription(model=model, language=language, prompt=prompt)


def _merge_detection(
    current: TurnDetection | None, given: TurnDetectionShape | None, defaults: SessionDefaults
) -> TurnDetection | None:
    if given is None:
        return None
    same = current is not None and current.type == given.type
    base = current if current is not None and same else _detection(defaults)
    fields = {name: getattr(given, name) for name in given.__struct_fields__}
    idle = base.idle_timeout_ms if given.idle_timeout_ms is UNSET else given.idle_timeout_ms
    changes = {name: value for name, value in fields.items() if value is not None and value is not UNSET}
    return replace(base, **{**changes, "idle_timeout_ms": idle})


def known(name: str, names: tuple[str, ...], path: str, what: str) -> str:
    """The name, if it is one of those. Raises Refused, which lists them."""
    if name not in names:
        raise Refused("invalid_value", path, f"{what} {name!r} is not known here; choose one of {', '.join(names)}")
    return name


def modality(given: list[Modality]) -> Modality:
    """Audio comes with its text, so ["text", "audio"] means audio."""
    return "audio" if "audio" in given else "text"


def read_voice(voice: str | VoiceShape, defaults: SessionDefaults, path: str) -> str:
    """The voice's name, if it is known. Raises Refused."""
    name = voice.id if isinstance(voice, VoiceShape) else voice
    return known(name, tuple(defaults.voices), path, "voice")


def read_format(given: FormatShape, path: str) -> Format:
    """The format, if its rate is the one it has. Raises Refused."""
    fmt = Format(given.type)
    if given.rate and given.rate != fmt.rate:
        reason = f"{given.type} has {fmt.rate} samples a second, not {given.rate}; resample, or leave the rate out"
        raise Refused("invalid_value", f"{path}.rate", reason)
    return fmt


# Shown ------------------------------------------------------------------------------------------------------


def show_format(fmt: Format) -> FormatShape:
    """The format as clients see it."""
    return FormatShape(type=fmt.value, rate=24000) if fmt is Format.PCM else FormatShape(type=fmt.value)


def show_session(session: Session, session_id: str, expires_at: int) -> SessionShape:
    """The settings as `session.created` and `session.updated` carry them."""
    audio = AudioShape(
        input=InputShape(
            format=show_format(session.input_format),
            transcription=_show_transcription(session.transcription),
            noise_reduction=session.noise_reduction,
            turn_detection=_show_detection(session.turn_detection, answers=session.kind == "realtime"),
        )
    )
    shown = SessionShape(
        type=session.kind, id=session_id, expires_at=expires_at, audio=audio, include=list(session.include) or None
    )
    if session.kind == "transcription":
        shown.object = "realtime.transcription_session"
        return shown
    audio.output = OutputShape(format=show_format(session.output_format), voice=session.voice, speed=session.speed)
    shown.object = "realtime.session"
    shown.model = session.model
    shown.output_modalities = [session.modality]
    shown.instructions = session.instructions
    shown.tools = list(session.tools)
    shown.tool_choice = session.tool_choice
    shown.max_output_tokens = session.max_output_tokens
    shown.truncation = session.truncation
    return shown


def _show_transcription(given: Transcription | None) -> TranscriptionShape | None:
    if given is None:
        return None
    return TranscriptionShape(model=given.model, language=given.language, prompt=given.prompt)


def _show_detection(given: TurnDetection | None, answers: bool) -> TurnDetectionShape | None:
    if given is None:
        return None
    shown = TurnDetectionShape(type=given.type)
    if given.type == "semantic_vad":
        shown.eagerness = given.eagerness
    else:
        shown.threshold = given.threshold
        shown.prefix_padding_ms = given.prefix_padding_ms
        shown.silence_duration_ms = given.silence_duration_ms
    if answers:
        shown.create_response = given.create_response
        shown.interrupt_response = given.interrupt_response
        if given.type == "server_vad":
            shown.idle_timeout_ms = given.idle_timeout_ms
    return shown


def prompt_tools(tools: tuple[ToolShape, ...]) -> tuple[Mapping[str, object], ...]:
    """The functions as chat-completion APIs and chat templates take them."""
    return tuple(
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": tool.parameters or {"type": "object", "properties": {}},
            },
        }
        for tool in tools
    )


def prompt_choice(choice: ToolChoice) -> str | Mapping[str, object]:
    """The tool choice as chat-completion APIs take it."""
    if isinstance(choice, ToolChoiceShape):
        return {"type": "function", "function": {"name": choice.name}}
    return choice
