"""A session's settings: what they are at the start, what an update makes of them, how they are shown."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from voice.endpoint import Eagerness
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

_TRANSCRIPTION = "session.audio.input.transcription"


class SessionDefaults(Struct, frozen=True, kw_only=True):
    """What a session begins with, and which names it knows.

    Attributes:
        model: name shown; `models` are the names a client may ask for, aliases included.
        voice: name shown; `voices` maps every name a client may ask for to the voice it means.
        transcription_model: name shown in sessions that only transcribe; `transcription_models` as `models`.
        languages: ISO 639-1 codes of what the recogniser understands; if more than English, it can translate.
        expires_at: when the session ends, unix seconds.
    """

    expires_at: int
    model: str = "rejoinder"
    models: tuple[str, ...] = ("rejoinder",)
    voice: str
    voices: Mapping[str, str]
    transcription_model: str = "rejoinder"
    transcription_models: tuple[str, ...] = ("rejoinder",)
    languages: tuple[str, ...] = ("en",)
    instructions: str = ""
    detection: Literal["server_vad", "semantic_vad"] = "semantic_vad"
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    max_output_tokens: Tokens = "inf"


class TurnDetection(Struct, frozen=True, kw_only=True):
    """How the end of a turn is found.

    "server_vad" waits for the silence. "semantic_vad" waits by its eagerness, and for the silence only where nothing is
    known about the pause.
    """

    type: Literal["server_vad", "semantic_vad"]
    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    idle_timeout_ms: int | None = None
    eagerness: Eagerness = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class Transcription(Struct, frozen=True, kw_only=True):
    """How the caller's speech is written down: in the language spoken (None: to be found out), or in English."""

    model: str
    language: str | None = None
    translate: bool = False
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
        type=defaults.detection,
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
        if session.kind == "transcription" and given.type != session.kind:
            reason = "a transcription session stays one; open another for a conversation"
            raise Refused("invalid_value", "session.type", reason)
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
    merged = replace(session, **changes)
    if merged.kind == "realtime" and merged.transcription and merged.transcription.translate:
        reason = 'conversations are not translated; make it a session of type "transcription", or leave it out'
        raise Refused("invalid_value", f"{_TRANSCRIPTION}.translate", reason)
    return merged


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
    changes: dict[str, Any] = {}
    if name := given.model:
        changes["model"] = known(name, defaults.transcription_models, f"{_TRANSCRIPTION}.model", "model")
    if given.language is not UNSET:
        language = given.language or None
        changes["language"] = language and known(language, defaults.languages, f"{_TRANSCRIPTION}.language", "language")
    if given.translate is not UNSET:
        changes["translate"] = bool(given.translate)
        if given.translate and set(defaults.languages) <= {"en"}:
            reason = "the server's recogniser knows English alone; set asr.model to a multilingual model"
            raise Refused("invalid_value", f"{_TRANSCRIPTION}.translate", reason)
    if given.prompt is not UNSET:
        changes["prompt"] = given.prompt or None
    return replace(base, **changes)


def _merge_detection(
    current: TurnDetection | None, given: TurnDetectionShape | None, defaults: SessionDefaults
) -> TurnDetection | None:
    if given is None:
        return None
    same = current is not None and current.type == given.type
    base = current if current is not None and same else _detection(defaults)
    fields = {name: getattr(given, name) for name in base.__struct_fields__}
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
    shown = TranscriptionShape(model=given.model, language=given.language, prompt=given.prompt)
    if given.translate:
        shown.translate = True
    return shown


def _show_detection(given: TurnDetection | None, answers: bool) -> TurnDetectionShape | None:
    if given is None:
        return None
    shown = TurnDetectionShape(type=given.type)
    if given.type == "server_vad":
        shown.threshold = given.threshold
        shown.prefix_padding_ms = given.prefix_padding_ms
        shown.silence_duration_ms = given.silence_duration_ms
    if answers:
        shown.create_response = given.create_response
        shown.interrupt_response = given.interrupt_response
        if given.type == "server_vad":
            shown.idle_timeout_ms = given.idle_timeout_ms
        else:
            shown.eagerness = given.eagerness
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
