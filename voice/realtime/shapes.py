"""Wire shapes that events share: sessions, audio formats, items, responses, usage.

Names and meanings are those of the OpenAI Realtime API (OpenAPI description 2.3.0). A field left UNSET is not on
the wire; None is JSON null. The shapes ignore unknown fields; the server role finds those by itself (`reading`).
"""

import secrets
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Text = Annotated[str, Meta(max_length=100_000)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Millis = Annotated[int, Meta(ge=0, le=86_400_000)]
Index = Annotated[int, Meta(ge=0, le=1_000_000)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000)] | Literal["inf"]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]
Modality = Literal["audio", "text"]
Modalities = Annotated[list[Modality], Meta(min_length=1, max_length=2)]
ItemStatus = Literal["completed", "incomplete", "in_progress"]
ResponseStatus = Literal["completed", "cancelled", "failed", "incomplete", "in_progress"]
Reason = Literal["turn_detected", "client_cancelled", "max_output_tokens", "content_filter"]


def new_id(prefix: str) -> str:
    """A fresh id: the prefix, an underscore and 21 URL-safe characters (126 random bits)."""
    return f"{prefix}_{secrets.token_urlsafe(16)[:21]}"


class Shape(Struct, kw_only=True):
    """Base of everything on the wire."""


# Session ----------------------------------------------------------------------------------------------------


class FormatShape(Shape):
    """Encoding of audio; only 24000 is a valid rate, and only for audio/pcm."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int | UnsetType | None = UNSET


class TurnDetectionShape(Shape):
    """When a caller's turn begins and ends."""

    type: Literal["server_vad", "semantic_vad"]
    threshold: Annotated[float, Meta(ge=0, le=1)] | UnsetType | None = UNSET
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=10_000)] | UnsetType | None = UNSET
    silence_duration_ms: Annotated[int, Meta(ge=0, le=60_000)] | UnsetType | None = UNSET
    idle_timeout_ms: Annotated[int, Meta(ge=0, le=3_600_000)] | UnsetType | None = UNSET
    eagerness: Literal["low", "medium", "high", "auto"] | UnsetType | None = UNSET
    create_response: bool | UnsetType | None = UNSET
    interrupt_response: bool | UnsetType | None = UNSET
    model_version: Name | UnsetType | None = UNSET


class TranscriptionShape(Shape):
    """How the caller's speech is written down."""

    model: Name | UnsetType | None = UNSET
    language: Annotated[str, Meta(max_length=16)] | UnsetType | None = UNSET
    translate: bool | UnsetType | None = UNSET
    prompt: Text | UnsetType | None = UNSET
    keywords: Annotated[list[Name], Meta(max_length=1000)] | UnsetType | None = UNSET
    languages: Annotated[list[Name], Meta(max_length=100)] | UnsetType | None = UNSET
    delay: Name | UnsetType | None = UNSET


class NoiseReductionShape(Shape):
    """Kept and shown; the audio is not changed."""

    type: Literal["near_field", "far_field"] | UnsetType | None = UNSET
    strength: float | UnsetType | None = UNSET


class InputShape(Shape):
    """`session.audio.input`."""

    format: FormatShape | UnsetType | None = UNSET
    transcription: TranscriptionShape | UnsetType | None = UNSET
    noise_reduction: NoiseReductionShape | UnsetType | None = UNSET
    turn_detection: TurnDetectionShape | UnsetType | None = UNSET


class VoiceShape(Shape):
    """A voice named by an object instead of a string."""

    id: Name


class SpokenShape(Shape):
    """`response.audio.output`."""

    format: FormatShape | UnsetType | None = UNSET
    voice: Name | VoiceShape | UnsetType | None = UNSET


class OutputShape(SpokenShape):
    """`session.audio.output`."""

    speed: Annotated[float, Meta(ge=0.25, le=1.5)] | UnsetType | None = UNSET


class AudioShape(Shape):
    """`session.audio`."""

    input: InputShape | UnsetType | None = UNSET
    output: OutputShape | UnsetType | None = UNSET


class ResponseAudioShape(Shape):
    """`response.audio`."""

    output: SpokenShape | UnsetType | None = UNSET


class ToolShape(Shape):
    """A function the model may call; `parameters` is a JSON Schema."""

    type: Literal["function"]
    name: Name
    description: Text | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType | None = UNSET
    strict: bool | UnsetType | None = UNSET


class ToolChoiceShape(Shape):
    """Forces one function."""

    type: Literal["function"]
    name: Name


Tools = Annotated[list[ToolShape], Meta(max_length=128)]
ToolChoice = Literal["none", "auto", "required"] | ToolChoiceShape


class SessionShape(Shape):
    """A session, given or shown. The last group is accepted from clients and has no effect here."""

    type: Literal["realtime", "transcription"] | UnsetType = UNSET
    object: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    model: Name | UnsetType | None = UNSET
    expires_at: int | UnsetType | None = UNSET
    output_modalities: Modalities | UnsetType | None = UNSET
    instructions: Text | UnsetType | None = UNSET
    audio: AudioShape | UnsetType | None = UNSET
    tools: Tools | UnsetType | None = UNSET
    tool_choice: ToolChoice | UnsetType | None = UNSET
    max_output_tokens: Tokens | UnsetType | None = UNSET
    truncation: Any = UNSET
    include: Annotated[list[Name], Meta(max_length=16)] | UnsetType | None = UNSET

    tracing: Any = UNSET
    prompt: Any = UNSET
    reasoning: Any = UNSET
    parallel_tool_calls: bool | UnsetType | None = UNSET


# Items ------------------------------------------------------------------------------------------------------


class ContentShape(Shape):
    """One part of a message. `audio` is base64 on the wire."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio", "text", "audio"]
    text: Text | UnsetType | None = UNSET
    audio: bytes | UnsetType | None = UNSET
    transcript: Text | UnsetType | None = UNSET
    image_url: str | UnsetType | None = UNSET
    detail: str | UnsetType | None = UNSET


class ItemShape(Shape, tag_field="type", kw_only=True):
    """What all items have."""

    id: Name | UnsetType | None = UNSET
    object: str | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET


class MessageShape(ItemShape, tag="message", kw_only=True):
    """Something said or typed."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[list[ContentShape], Meta(max_length=16)]


class CallShape(ItemShape, tag="function_call", kw_only=True):
    """The model asks for a function; `arguments` is a JSON text."""

    call_id: Name | UnsetType | None = UNSET
    name: Name
    arguments: Text


class CallOutputShape(ItemShape, tag="function_call_output", kw_only=True):
    """What the function returned."""

    call_id: Name
    output: Text


class ReferenceShape(ItemShape, tag="item_reference", kw_only=True):
    """Stands for an item of the conversation; only in `response.create`."""


AnyItem = MessageShape | CallShape | CallOutputShape
InputItem = MessageShape | CallShape | CallOutputShape | ReferenceShape


# Responses --------------------------------------------------------------------------------------------------


class TokenDetails(Shape):
    """Tokens by kind."""

    text_tokens: int = 0
    audio_tokens: int = 0


class InputTokenDetails(Shape):
    """Tokens read, by kind; cached ones are part of them."""

    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    cached_tokens_details: TokenDetails | UnsetType = UNSET


class UsageShape(Shape):
    """Tokens of one response."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: InputTokenDetails
    output_token_details: TokenDetails


class FailureShape(Shape):
    """Why a response failed."""

    type: str
    code: str
    message: str | UnsetType = UNSET


class StatusShape(Shape):
    """Why a response is not complete."""

    type: Literal["completed", "cancelled", "incomplete", "failed"]
    reason: Reason | UnsetType = UNSET
    error: FailureShape | UnsetType = UNSET


class ResponseShape(Shape, kw_only=True):
    """A response: at its start without output, at its end with all of it."""

    object: str = "realtime.response"
    id: str
    status: ResponseStatus
    status_details: StatusShape | None = None
    output: list[AnyItem] = []
    conversation_id: str | None = None
    output_modalities: list[Modality]
    max_output_tokens: Tokens
    audio: ResponseAudioShape | UnsetType = UNSET
    usage: UsageShape | None = None
    metadata: dict[str, str] | None = None


class ParamsShape(Shape):
    """`response.create.response`: settings for one response. The last group is accepted and has no effect here."""

    instructions: Text | UnsetType | None = UNSET
    output_modalities: Modalities | UnsetType | None = UNSET
    conversation: Literal["auto", "none"] | UnsetType | None = UNSET
    input: Annotated[list[InputItem], Meta(max_length=1000)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    tools: Tools | UnsetType | None = UNSET
    tool_choice: ToolChoice | UnsetType | None = UNSET
    max_output_tokens: Tokens | UnsetType | None = UNSET
    audio: AudioShape | UnsetType | None = UNSET

    prompt: Any = UNSET
    reasoning: Any = UNSET
    parallel_tool_calls: bool | UnsetType | None = UNSET
