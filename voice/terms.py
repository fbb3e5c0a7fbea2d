"""What a session's settings mean: for hearing the caller, for taking turns, and for one response. Pure."""

from dataclasses import dataclass

from msgspec.structs import replace

from voice.config import Config, VadConfig
from voice.events import Prompt
from voice.history import Items, prompt
from voice.realtime.client_events import Respond
from voice.realtime.codec import Format
from voice.realtime.settings import Session, prompt_choice, prompt_tools
from voice.realtime.shapes import Modality, Tokens, ToolChoice, ToolShape
from voice.state import Phrases, Policy


@dataclass(frozen=True, slots=True)
class Terms:
    """How one response is to be made."""

    modality: Modality
    instructions: str
    tools: tuple[ToolShape, ...]
    tool_choice: ToolChoice
    max_output_tokens: Tokens
    voice: str
    format: Format
    speed: float

    @property
    def rate(self) -> int:
        """Hz of the audio wanted; 0 when only text is."""
        return self.format.rate if self.modality == "audio" else 0

    def prompt(self, items: Items, *, context: int, max_tokens: int, temperature: float) -> Prompt:
        """What the model reads, within `context` tokens; it answers with at most `max_tokens`."""
        wanted = self.max_output_tokens
        tokens = max_tokens if wanted == "inf" else min(wanted, max(1, context // 2))
        return prompt(
            items,
            self.instructions,
            budget=context,
            tools=prompt_tools(self.tools) if self.tool_choice != "none" else (),
            tool_choice=prompt_choice(self.tool_choice),
            max_tokens=tokens,
            temperature=temperature,
        )


def terms(session: Session, asked: Respond | None) -> Terms:
    """The terms of a response the client asked for, or (None) of an answer to speech."""
    asked = asked or Respond()
    return Terms(
        modality=asked.modality or session.modality,
        instructions=session.instructions if asked.instructions is None else asked.instructions,
        tools=session.tools if asked.tools is None else asked.tools,
        tool_choice=asked.tool_choice or session.tool_choice,
        max_output_tokens=asked.max_output_tokens or session.max_output_tokens,
        voice=asked.voice or session.voice,
        format=asked.format or session.output_format,
        speed=asked.speed or session.speed,
    )


def detector(session: Session, config: Config) -> VadConfig | None:
    """How speech is told from silence; None: the client says where a turn ends."""
    detection = session.turn_detection
    if detection is None:
        return None
    silence = detection.silence_duration_ms / 1000
    return replace(
        config.vad,
        threshold=detection.threshold,
        release=min(config.vad.release, detection.threshold),
        pause_seconds=min(config.vad.pause_seconds, max(silence, 0.032)),
        preroll_seconds=max(detection.prefix_padding_ms / 1000, 0.032),
    )


def policy(session: Session, config: Config) -> Policy:
    """Who speaks when."""
    detection, idle = session.turn_detection, config.endpoint.idle_seconds
    if detection and detection.idle_timeout_ms is not None:
        idle = detection.idle_timeout_ms / 1000
    return Policy(
        detect=detection is not None,
        answer=session.kind == "realtime" and detection is not None and detection.create_response,
        interrupt=detection is not None and detection.interrupt_response,
        eagerness=detection.eagerness if detection and detection.type == "semantic_vad" else None,
        silence_seconds=detection.silence_duration_ms / 1000 if detection else 0.0,
        idle_seconds=idle,
        phrases=Phrases(config.phrases.repair, config.phrases.idle),
    )
