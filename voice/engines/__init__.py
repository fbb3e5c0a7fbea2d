"""Five small protocols for the models, and the table of names that find an implementation.

Engines hold no session state: everything a call needs is in its arguments. What a name finds is a class: its instances,
built as `Engine(setup)`, are async context managers that give the engine. Entering one loads the model or starts the
process, leaving it stops both. What is made of open engines needs no entering.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from streams.audio import Audio
from streams.lane import Lane
from streams.tap import Tap
from voice.config import Config
from voice.events import Hypothesis, LlmEvent, Priority, Prompt, Speech, Usage

BUILT_IN = {
    "vad": {"silero": "voice.engines.silero:SileroVad"},
    "endpoint": {"smart-turn": "voice.engines.smart_turn:SmartTurn"},
    "asr": {"whisper": "voice.engines.whisper:WhisperAsr"},
    "llm": {
        "llama": "voice.engines.llama:LlamaLlm",
        "sglang": "voice.engines.sglang:SglangLlm",
        "openai": "voice.engines.chat:ChatLlm",
    },
    "tts": {"piper": "voice.engines.piper:PiperTts"},
}


class EngineError(Exception):
    """An engine could not do what was asked; the message says why and what to do."""


class Unfit(EngineError):
    """The request is at fault, not the engine: no other of its kind would take it either."""


class ContextOverflow(Unfit):
    """The prompt does not fit into the model's context window."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an engine is built from: `Engine(setup)`.

    Attributes:
        config: the whole configuration; an engine reads its own section.
        model: folder of a registry entry's verified files; raises `voice.models.ModelError`.
        lane: the threads this kind of engine computes on.
        tap: where figures go that only the engine knows.
    """

    config: Config
    model: Callable[[str], Path]
    lane: Lane
    tap: Tap


class Engine(Protocol):
    """What all engines share, once open."""

    name: str


class VadStream(Protocol):
    """The voice detector's view of one caller."""

    def push(self, audio: Audio) -> list[float]:
        """Speech probability for each complete 32 ms frame (512 samples at 16 kHz) since the last call."""


class Vad(Engine, Protocol):
    """Tells speech from everything else."""

    def stream(self) -> VadStream:
        """A fresh stream for one caller; cheap, and needs no closing."""


class TurnModel(Engine, Protocol):
    """Hears whether the caller has finished."""

    async def judge(self, audio: Audio, *, session: str) -> float:
        """Probability, in [0, 1], that the turn is over.

        Args:
            audio: the utterance so far at 16 kHz, ending in the pause; its last seconds are looked at.
            session: for fairness between callers.

        Raises:
            EngineError: the model failed, or too many pauses wait for it.
        """


Newest = Callable[[], Audio]
"""Gives the audio there is when work on it begins; asked once, on the event loop, without an await in it."""


class Asr(Engine, Protocol):
    """Turns audio into words."""

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes of what it understands; a model of English alone translates nothing."""

    async def transcribe(
        self,
        audio: Audio | Newest,
        *,
        priority: Priority,
        session: str,
        language: str = "",
        likely: str = "",
        translate: bool = False,
    ) -> Hypothesis:
        """Recognise 16 kHz audio; word times are on the audio's stream clock.

        Args:
            audio: or what gives it, when the engine gets to it: the newest then.
            priority: which kind of work this is; partials may be decoded more cheaply than finals.
            session: for fairness between callers.
            language: ISO 639-1 code, which is never doubted; or empty to detect.
            likely: where it is detected: what `Hypothesis.likely` said of this caller before. Partials believe it;
                anything else says otherwise where the audio is clear.
            translate: into English, where the model can.

        Raises:
            EngineError: the language is unknown to the model, or decoding failed.
        """


class Llm(Engine, Protocol):
    """Answers a prompt."""

    @property
    def context(self) -> int:
        """Size of the context window in tokens, prompt and answer together."""

    def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AbstractAsyncContextManager[AsyncIterator[LlmEvent]]:
        """Stream the answer: text deltas and tool calls, then one `Usage`. Leaving the block cancels.

        Args:
            request: our own id of the request, of fixed length, unique.

        Raises:
            ContextOverflow: on entering or on the first item.
            EngineError: the engine is not reachable, refused, or broke off; the message is fit for a client.
        """

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        """Have the engine's prefix cache hold the prompt, as far as its last message goes; returns when it does.

        The next prompt may go on where that message ends. Answers come first: they are never delayed noticeably.
        Cancelling stops the work. An engine whose cache cannot be filled for nothing does nothing.

        Returns:
            What was read; `prompt - cached` tokens of it were computed.

        Raises:
            ContextOverflow: the prompt is too long.
            EngineError: as `stream` does.
        """


class Tts(Engine, Protocol):
    """Speaks text."""

    voices: tuple[str, ...]
    rate: int
    """Hz of what `stream` yields."""

    def stream(
        self, text: str, *, voice: str, speed: float, priority: Priority, session: str
    ) -> AbstractAsyncContextManager[AsyncIterator[Speech]]:
        """Speak one clause. Leaving the block cancels what is not yet begun.

        The pieces follow one another without a gap, and may meet within a word: what changes their rate must remember
        the one before (`streams.audio.Resampler`). Each holds the words that begin in it. The silence around a sentence
        is trimmed to about 20 ms before it and 60 ms after.

        Raises:
            EngineError: unknown voice, or synthesis failed.
        """


def find(slot: str, name: str) -> Any:
    """The engine class for a built-in name or a "module:Class" of yours.

    Raises:
        EngineError: no such name, or the module cannot be imported.
    """
    path = BUILT_IN[slot].get(name, name)
    module, _, attribute = path.partition(":")
    if not attribute:
        known = ", ".join(sorted(BUILT_IN[slot]))
        raise EngineError(f'{slot}.engine = "{name}": unknown; choose one of {known}, or give "module:Class"')
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise EngineError(
            f'{slot}.engine = "{name}": cannot import {path} ({error}); is its package installed?'
        ) from error
