"""Hearing one caller: voice detection at once, and decoding of the newest audio whenever the engine is free."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from streams.audio import Audio, join
from streams.tap import Tap
from voice.agreement import Agreement
from voice.commands import Commit
from voice.config import AsrConfig, VadConfig
from voice.engines import Asr, EngineError, Vad
from voice.events import Hypothesis, Priority, Recognised, SpeechStarted, SpeechStopped
from voice.vad import FRAME, Segmenter

RATE = 16_000
"""Hz of all audio in here: what the recogniser and the voice detector work on."""

WAITING_FINALS = 4
"""Finished stretches of speech that may wait for their decode; past it the caller's audio is not read."""

Heard = SpeechStarted | SpeechStopped | Recognised | Commit


@dataclass(slots=True, eq=False)
class _Decode:
    """Audio to be recognised; `final` when it is all the caller has said before falling silent."""

    utterance: int
    audio: Audio
    agreement: Agreement
    final: bool
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: bool = False


class Listening:
    """One caller's ears. Feed it with `push`; it tells what it hears through `emit`, from `push` and from `run`.

    An utterance is open from the first speech until `close`; pauses belong to it. Each time the caller falls silent
    the whole utterance is decoded for good, and again if the caller goes on. While the caller speaks, the newest
    audio is decoded as often as `asr.partial_seconds` and the engine allow; what is overtaken is never decoded.

    Every sample is accounted for: received = decoded + gated + dropped + held.

    Args:
        limit: seconds after which an utterance is ended in the caller's stead.
        ahead: seconds that may be received ahead of decoding before `room` makes the sender wait.
    """

    def __init__(
        self,
        vad: Vad,
        asr: Asr,
        config: AsrConfig,
        session: str,
        emit: Callable[[Heard], None],
        tap: Tap,
        *,
        limit: float,
        ahead: float,
    ) -> None:
        self.position = 0
        """Samples received."""
        self.language = config.language
        self._vad = vad
        self._asr = asr
        self._partial_samples = round(config.partial_seconds * RATE)
        self._session = session
        self._emit = emit
        self._tap = tap
        self._limit = round(limit * RATE)
        self._ahead = round(ahead * RATE)
        self._held: deque[Audio] = deque()
        self._held_from = 0
        self._utterance = 0
        self._open = False
        self._finals: deque[_Decode] = deque()  # waiting or running; the last may be of the open utterance
        self._latest: _Decode | None = None  # newest decode of the open utterance
        self._decoded_upto = 0  # end of the newest audio whose decode has ended
        self._agreement = Agreement()
        self._work = anyio.Event()
        self._progress = anyio.Event()
        self._config: VadConfig | None = None

    def configure(self, vad: VadConfig | None) -> None:
        """Find speech by these settings; None leaves the ends of utterances to `close` alone."""
        if vad != self._config:
            self.starve()
            self._config = vad
            self._reset_detection()

    @property
    def speaking(self) -> bool:
        """Whether the caller's voice is heard now."""
        return self._config is not None and self._segmenter.speaking

    @property
    def held(self) -> float:
        """Seconds of audio that belong to no finished utterance yet."""
        return (self.position - self._held_from) / RATE

    # What comes from the caller ---------------------------------------------------------------------------------

    def push(self, audio: Audio) -> None:
        """Take the next samples at 16 kHz; their position is counted here."""
        audio = Audio(audio.samples, RATE, self.position)
        self.position = audio.end
        self._count("received", len(audio.samples))
        self._held.append(audio)
        if self._config is None:
            if self.position - self._held_from > self._limit:
                self._emit(Commit(self.position / RATE))
            return
        for probability in self._detector.push(audio):
            self._frame_end += FRAME
            self._voiced = probability >= self._config.release
            if event := self._segmenter.push(probability, self._frame_end):
                self._heard(event, self._config)
        if self._open and self.position - self._held_from > self._limit:
            self._emit(Commit(self.position / RATE))
        if not self._open:
            self._forget(self.position - round(self._config.preroll_seconds * RATE), "gated")
        self._work.set()

    def starve(self) -> None:
        """Nothing comes any more: speech that is under way ends here."""
        if self._config is not None and (event := self._segmenter.starve(self.position / RATE)):
            self._heard(event, self._config)

    def _heard(self, event: SpeechStarted | SpeechStopped, config: VadConfig) -> None:
        if isinstance(event, SpeechStopped):
            self._decode(final=True)
        else:
            self._drop_decodes()
            if not self._open:
                self._forget(round((event.at - config.preroll_seconds) * RATE), "gated")
            self._open = True
        self._emit(event)

    # What the dialog decides ------------------------------------------------------------------------------------

    def close(self) -> None:
        """The utterance is over; what comes next belongs to another."""
        if self._latest is None or not self._latest.final:
            self._drop_decodes()
            self._decode(final=True)
            self._reset_detection()
        assert self._latest is not None
        self._forget(self._latest.audio.end, "decoded")
        self._next_utterance()

    def clear(self) -> None:
        """Forget the utterance and all audio held."""
        self._drop_decodes()
        self._forget(self.position, "dropped")
        self._reset_detection()
        self._next_utterance()

    def hang_up(self) -> None:
        """The caller is gone; settle the books."""
        self._forget(self.position, "dropped" if self._open or self._config is None else "gated")

    async def room(self) -> None:
        """Wait until decoding has caught up with what was received."""
        while len(self._finals) > WAITING_FINALS or self._behind() > self._ahead:
            self._progress = anyio.Event()
            await self._progress.wait()

    def _behind(self) -> int:
        """Samples of the open utterance that no finished decode covers, while the caller speaks."""
        if not self.speaking or not self._open:
            return 0
        return self.position - max(self._decoded_upto, self._held_from)

    # Decoding ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decode what there is, one piece at a time, until cancelled."""
        while True:
            decode = self._finals[0] if self._finals else self._partial()
            if decode is None:
                self._work = anyio.Event()
                await self._work.wait()
                continue
            with decode.scope:
                await self._recognise(decode)
            if decode.final and self._finals and self._finals[0] is decode:
                self._finals.popleft()
            self._progress.set()

    def _partial(self) -> _Decode | None:
        """A decode of what is held, if the caller speaks and enough is new."""
        if not self._open or not self.speaking:
            return None
        begun = self._latest.audio.end if self._latest else self._held_from
        enough = self.position - begun >= self._partial_samples
        if not enough or not (self._voiced or self._behind() > self._ahead):
            return None
        return self._decode(final=False)

    async def _recognise(self, decode: _Decode) -> None:
        """Decode one piece and tell what came of it."""
        priority = Priority.PARTIAL if decode.agreement.words else Priority.FIRST_PARTIAL
        if decode.final:
            priority = Priority.SPECULATIVE if decode.utterance == self._utterance else Priority.FINAL
        fault = ""
        try:
            hypothesis = await self._asr.transcribe(
                decode.audio, priority=priority, session=self._session, language=self.language
            )
        except EngineError as error:
            self._done(decode)
            if not decode.final:
                return
            hypothesis, fault = Hypothesis(()), str(error)
        self._done(decode)
        heard = decode.agreement
        take = heard.finish if decode.final else heard.partial
        transcript = take(hypothesis, decode.audio.start / RATE, decode.audio.end / RATE)
        self._emit(Recognised(decode.utterance, transcript, fault))

    def _done(self, decode: _Decode) -> None:
        decode.done = True
        self._decoded_upto = max(self._decoded_upto, decode.audio.end)

    def _decode(self, *, final: bool) -> _Decode:
        decode = _Decode(self._utterance, join(list(self._held)), self._agreement, final)
        if final:
            if self._latest and not self._latest.done:
                self._latest.scope.cancel()
            self._finals.append(decode)
            self._work.set()
        self._latest = decode
        return decode

    def _drop_decodes(self) -> None:
        """What was asked about the open utterance is out of date."""
        if self._latest and not self._latest.done:
            self._latest.scope.cancel()
        if self._finals and self._finals[-1].utterance == self._utterance:
            self._finals.pop()
        self._latest = None

    def _next_utterance(self) -> None:
        self._utterance += 1
        self._open = False
        self._latest = None
        self._agreement = Agreement()

    def _reset_detection(self) -> None:
        if self._config is not None:
            self._detector = self._vad.stream()
            self._segmenter = Segmenter(self._config)
            self._frame_end = self.position / RATE
            self._voiced = False

    # The books --------------------------------------------------------------------------------------------------

    def _forget(self, upto: int, state: str) -> None:
        """Let go of the audio before a position, and account for it."""
        upto = min(upto, self.position)
        if upto <= self._held_from:
            return
        self._count(state, upto - self._held_from)
        self._held_from = upto
        while self._held and self._held[0].end <= upto:
            self._held.popleft()
        if self._held:
            first = self._held[0]
            self._held[0] = first.span(upto, first.end)

    def _count(self, state: str, samples: int) -> None:
        self._tap.count("audio_seconds_total", samples / RATE, state=state)
