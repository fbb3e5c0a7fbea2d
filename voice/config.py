"""Every setting, one frozen struct per part. Times in seconds, sizes in bytes, rates in Hz unless named otherwise."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

Fraction = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: immutable, and unknown keys are errors."""


class ServerConfig(Part, frozen=True):
    """Where the gateway listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8800


class AuthConfig(Part, frozen=True):
    """Who may call. "auto": no key needed on loopback, keys required on any other address."""

    mode: Literal["auto", "keys", "none"] = "auto"
    keys: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    origins: tuple[str, ...] = ()
    """Origins of web pages that may connect, besides the server's own; "*" allows all."""
    secret: Annotated[str, Meta(pattern=r"^(.{32,})?$")] = ""
    """Signs ephemeral keys; empty: each process makes its own."""


class LimitsConfig(Part, frozen=True):
    """What one client, and all of them together, may ask for."""

    sessions: Count = 16
    session_seconds: Positive = 3600.0
    idle_seconds: Positive = 300.0
    message_bytes: Count = 16 * 1024 * 1024
    bad_messages: Count = 50
    """Errors in a row after which the session is closed."""
    utterance_seconds: Positive = 60.0
    audio_ahead_seconds: Positive = 2.0
    """A sender this far ahead of decoding is not read any further (TCP holds it back)."""
    stalled_reader_seconds: Positive = 2.0
    drain_seconds: Positive = 10.0
    items: Count = 1000
    file_seconds: Positive = 1500.0
    """Longest recording."""
    key_sessions: Annotated[int, Meta(ge=0)] = 0
    key_minutes: Annotated[float, Meta(ge=0)] = 0.0
    key_file_minutes: Annotated[float, Meta(ge=0)] = 0.0
    """What each key may use; 0 sets no limit."""


class ModelsConfig(Part, frozen=True):
    """Where model files live and where they may come from."""

    dir: str = ""
    """Empty: the user's cache folder."""
    offline: bool = False
    paths: dict[str, str] = {}
    """Own files for an entry of the registry: name -> folder."""


class VadConfig(Part, frozen=True):
    """Voice activity detection."""

    engine: str = "silero"
    threshold: Fraction = 0.5
    release: Fraction = 0.35
    """Below this, a frame counts as silence once speech has begun."""
    onset_seconds: Positive = 0.096
    """Voice must last this long before it counts as speech."""
    pause_seconds: Positive = 0.096
    """Silence after which the speech so far is decoded for good, in case the caller has finished."""
    preroll_seconds: Positive = 0.3
    starved_seconds: Positive = 0.3
    """No packets for this long in the middle of speech counts as silence."""


class EndpointConfig(Part, frozen=True):
    """When the caller has finished."""

    detection: Literal["semantic_vad", "server_vad"] = "semantic_vad"
    """For sessions that do not say: by what is said and how, or by silence alone."""
    engine: str = "smart-turn"
    """Empty: none, and silence alone counts."""
    model: str = "smart-turn-v3.2"
    silence_seconds: Positive = 0.5
    """Of "server_vad", and wherever the engine has no opinion."""
    idle_seconds: Annotated[float, Meta(ge=0)] = 0.0
    """Silence after which a caller is asked, once, whether they are there; 0: never, unless the client wants it."""


class SpeculationConfig(Part, frozen=True):
    """What is done before the caller has finished."""

    replies: Literal["auto", "on", "off"] = "auto"
    """Begin replies while the silence is still being judged: while it pays, always, or never."""
    prefill: bool = True
    """Have the language model read what the caller says while they say it."""


class AsrConfig(Part, frozen=True):
    """Recognition."""

    engine: str = "whisper"
    model: str = "whisper-tiny.en"
    language: str = ""
    partial_seconds: Positive = 0.4
    """New audio needed before another partial is decoded."""
    threads: Count = 1
    """Engine threads per decode; a second one gains nothing on short windows."""
    lanes: Count = 2
    """Decodes at the same time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class OtherLlm(Part, frozen=True):
    """Another language model; in all else it is as [llm] says."""

    engine: str = ""
    """Empty: there is none."""
    model: str = "auto"
    url: str = ""
    key: str = ""


class LlmConfig(Part, frozen=True):
    """Answering. `url` is the server of the engines "sglang" and "openai"; the embedded engine needs none."""

    engine: str = "llama"
    model: str = "auto"
    """A registry name for the embedded engine ("auto": what this machine holds), else the server's model name."""
    url: str = ""
    workers: tuple[str, ...] = ()
    """Further servers with the same model, besides `url`."""
    key: str = ""
    instructions: str = (
        "You are a friendly voice assistant on a call. Answer in one or two short spoken sentences. "
        "Use plain words only: no lists, no markdown, no emoji. If you did not understand, ask."
    )
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    max_tokens: Count = 160
    context: Count = 2048
    """Tokens of prompt and answer together the embedded engine keeps per caller."""
    slots: Count = 4
    threads: Annotated[int, Meta(ge=0)] = 0
    """Threads of the embedded engine; 0 leaves a core to the rest of the service."""
    connect_seconds: Positive = 3.0
    first_token_seconds: Positive = 20.0
    stall_seconds: Positive = 10.0
    stop: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    """An answer ends before any of these texts."""
    sampling: dict[str, int | float] = {}
    """Further fields of a request, for instance top_p."""
    fallback: OtherLlm = OtherLlm()
    """Answers while the one above cannot."""
    quick: OtherLlm = OtherLlm()
    """A small model that says the first clause while the one above still reads the prompt."""

    def other(self, other: OtherLlm) -> "LlmConfig":
        """This, with another model in place of the one it names."""
        return replace(
            self,
            engine=other.engine,
            model=other.model,
            url=other.url,
            key=other.key,
            workers=(),
            fallback=OtherLlm(),
            quick=OtherLlm(),
        )


class TtsConfig(Part, frozen=True):
    """Speaking."""

    engine: str = "piper"
    voice: str = "en_US-joe-medium"
    speed: Annotated[float, Meta(ge=0.25, le=4)] = 1.0
    lanes: Count = 1


class PhrasesConfig(Part, frozen=True):
    """What is said without asking the language model; an empty phrase is not said."""

    apology: str = "Sorry, I cannot answer that just now. Please try again in a moment."
    repair: str = "Sorry, could you say that again?"
    idle: str = "Are you still there?"


class PlayoutConfig(Part, frozen=True):
    """The speaker edge."""

    ahead_seconds: Positive = 0.2
    """How far ahead of real time audio is sent."""
    echo_guard: bool = True
    """What comes back of an answer through the caller's microphone is not taken for the caller."""


class WebRtcConfig(Part, frozen=True):
    """Calls from browsers. Media travels over UDP, on ports that the system chooses."""

    stun: Annotated[str, Meta(pattern=r"^(stun:[^\s?]+)?$")] = ""
    """Tells the server its public address; empty: callers reach the addresses it has."""
    turn: Annotated[str, Meta(pattern=r"^(turns?:\S+)?$")] = ""
    """Relays media where nothing else gets through."""
    turn_user: str = ""
    turn_password: str = ""
    setups: Count = 8
    """Calls that are being set up at the same time."""
    setup_seconds: Positive = 10.0
    """From the answer to an open data channel."""
    lost_seconds: Positive = 10.0
    """A caller of whom nothing at all comes for so long is gone."""


class CaptionsConfig(Part, frozen=True):
    """Captions that many read."""

    publish_keys: tuple[str, ...] = ()
    """Who may feed a room; none: whoever may call."""
    read_keys: tuple[str, ...] = ()
    """Who may read; none: whoever knows a room's name."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may embed captions, besides the server's own; "*" allows all."""
    frame_ancestors: tuple[Annotated[str, Meta(pattern=r"^[^\s;,]+$")], ...] = ("'self'",)
    """Pages that may show the captions page in a frame: sources of the Content-Security-Policy."""
    rooms: Count = 16
    readers: Count = 1000
    linger_seconds: Positive = 60.0
    """A room outlives its publisher by so much."""
    kept_cues: Count = 5000
    backlog_cues: Count = 100
    backlog_seconds: Positive = 300.0
    ticket_seconds: Positive = 600.0


class LoggingConfig(Part, frozen=True):
    """What is written down."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json: bool = False
    transcripts: bool = False
    """Write what is said into the log; off, because it is private."""


VENDORS_MODELS = (
    "rejoinder gpt-realtime gpt-realtime-1.5 gpt-realtime-2 gpt-realtime-2.1 gpt-realtime-2.1-mini gpt-realtime-mini "
    "gpt-realtime-2025-08-28 gpt-realtime-mini-2025-10-06 gpt-realtime-mini-2025-12-15 "
    "gpt-4o-realtime-preview gpt-4o-realtime-preview-2024-10-01 gpt-4o-realtime-preview-2024-12-17 "
    "gpt-4o-realtime-preview-2025-06-03 gpt-4o-mini-realtime-preview gpt-4o-mini-realtime-preview-2024-12-17 "
    "gpt-transcribe gpt-live-transcribe gpt-4o-transcribe gpt-4o-transcribe-diarize gpt-4o-mini-transcribe "
    "gpt-4o-mini-transcribe-2025-12-15 gpt-realtime-whisper whisper-1 tts-1 tts-1-hd gpt-4o-mini-tts"
)
VENDORS_VOICES = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse"


def _ours(names: str) -> dict[str, str]:
    """Each of these names means what is configured here."""
    return dict.fromkeys(names.split(), "")


class Config(Part, frozen=True):
    """The whole configuration."""

    server: ServerConfig = ServerConfig()
    auth: AuthConfig = AuthConfig()
    limits: LimitsConfig = LimitsConfig()
    models: ModelsConfig = ModelsConfig()
    vad: VadConfig = VadConfig()
    endpoint: EndpointConfig = EndpointConfig()
    speculation: SpeculationConfig = SpeculationConfig()
    asr: AsrConfig = AsrConfig()
    llm: LlmConfig = LlmConfig()
    tts: TtsConfig = TtsConfig()
    phrases: PhrasesConfig = PhrasesConfig()
    playout: PlayoutConfig = PlayoutConfig()
    webrtc: WebRtcConfig = WebRtcConfig()
    captions: CaptionsConfig = CaptionsConfig()
    logging: LoggingConfig = LoggingConfig()
    aliases: dict[str, str] = field(default_factory=lambda: _ours(VENDORS_MODELS))
    """Names that vendors' clients send for models; an empty value means the one configured here."""
    voices: dict[str, str] = field(default_factory=lambda: _ours(VENDORS_VOICES))
    """The same for voices."""
