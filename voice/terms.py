"""What holds for one response: the session's settings, with those the client gave for this response over them. Pure."""

from dataclasses import dataclass

from voice.events import Prompt
from voice.history import Items, prompt
from voice.realtime.client_events import Respond
from voice.realtime.codec import Format
from voice.realtime.settings import Session, prompt_choice, prompt_tools
from voice.realtime.shapes import Modality, Tokens, ToolChoice, ToolShape


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
