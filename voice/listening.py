"""Hearing one caller: voice detection at once, and decoding of the newest audio whenever the engine is free."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import anyio

from streams.audio import Audio, join
from streams.tap import Tap
from voice.agreement import Agreement
from voice.commands import Commit
from voice.config import AsrConfig, VadConfig
from voice.engines import Asr, EngineError, TurnModel, Vad
from voice.events import Hypothesis, Judged, Priority, Recognised, SpeechStarted, SpeechStopped
from voice.holding import Holding
from voice.vad import FRAME, Segmenter

RATE = 16_000
"""Hz of all audio in here: what the recogniser and the voice detector work on."""

WAITING_FINALS = 4
"""Finished stretches of speech that may wait for their decode; past it the caller's audio is not read."""

FIRST_WORDS = (0.2, 0.12)
"""Seconds of speech before the first partial, and between partials until there are words to show."""

HOPELESS = 1.5
"""Seconds of speech without words after which there is no hurry for the first."""

LOOKED_BACK = 8.0
"""Seconds of audio kept for the turn model."""

TAIL, TAIL_KEPT = 1.2, 0.6
"""Longest window of a quick look in seconds, and what is left of it when it begins anew after words heard."""

WHOLE, WHOLE_KEPT = 6.0, 3.0
"""The same for a thorough look and words promised."""

UNHEARD = 15.0
"""Seconds from which such a window is shortened even where no word was heard yet."""

REVIEWED = 4.0
"""Seconds of speech without a pause after which a thorough look is taken all the same."""

TAIL_CUT, WHOLE_CUT = 1.0, 2.5
"""Seconds before the latest possible cut in which the quietest moment between two words is looked for."""

Heard = SpeechStarted | SpeechStopped | Recognised | Judged | Commit


@dataclass(slots=True, eq=False)
class _Decode:
    """Audio to be recognised: thoroughly, or quickly; `final` when the caller fell silent after it."""

    utterance: int
    audio: Audio
    agreement: Agreement
    thorough: bool
    final: bool
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: bool = False
    known: bool = False


class Listening:
    """One caller's ears. Feed it with `push`; it tells what it hears through `emit`, from `push` and from `run`.

    An utterance is open from the first speech until `close`; pauses belong to it. Each time the caller falls silent
    what is not settled is decoded for good, and again if the caller goes on soon. While the caller speaks, the newest
    audio is decoded as often as `asr.partial_seconds` and the engine allow; what is overtaken is never decoded, and
    audio is let go of as its words are agreed, so that a speech of an hour costs no more than a sentence.

    Args:
        limit: seconds after which an utterance is ended in the caller's stead.
        ahead: seconds that may be received ahead of decoding before `room` makes the sender wait.

    Attributes:
        language, translate: as the recogniser is told.
        alert: an answer sounds, and what may be a voice is to be noticed at once.
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
        turn: TurnModel | None,
        limit: float,
        ahead: float,
    ) -> None:
        self.language = config.language
        self.translate = False
        self.alert = False
        self._likely = ""
        self._vad = vad
        self._asr = asr
        self._turn = turn
        self._partial_samples = round(config.partial_seconds * RATE)
        self._session = session
        self._emit = emit
        self._limit = round(limit * RATE)
        self._ahead = round(ahead * RATE)
        self._held = Holding(RATE, tap)
        self._tail_from = 0  # where a quick look begins
        self._reviewed = 0  # where the last thorough look ended
        self._misheard = False  # whether what was heard since was taken for another language
        self._recent: deque[Audio] = deque()  # what the turn model looks at
        self._begun = 0  # where the open utterance begins
        self._utterance = 0
        self._open = False
        self._finals: deque[_Decode] = deque()  # waiting or running; the last may be of the open utterance
        self._latest: _Decode | None = None  # newest decode of the open utterance
        self._decoded_upto = 0  # end of the newest audio whose decode has ended
        self._agreement = Agreement()
        self._worded = False  # whether words of the open utterance are known
        self._onset = 0
        self._stopped = 0.0
        self._paused = anyio.Event()
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
    def position(self) -> int:
        """Samples received."""
        return self._held.end

    @property
    def speaking(self) -> bool:
        """Whether the caller's voice is heard now."""
        return self._config is not None and self._segmenter.speaking

    @property
    def rising(self) -> bool:
        """Whether the caller may be beginning to speak."""
        return self._config is not None and self._segmenter.rising

    @property
    def held(self) -> float:
        """Seconds of audio that belong to no finished utterance yet."""
        return (self.position - self._start) / RATE

    @property
    def _start(self) -> int:
        """Where what belongs to no finished utterance begins."""
        return self._begun if self._open else self._held.start

    # What comes from the caller ---------------------------------------------------------------------------------

    def push(self, audio: Audio) -> None:
        """Take the next samples at 16 kHz; their position is counted here."""
        audio = self._held.push(audio)
        self._recent.append(audio)
        while self.position - self._recent[0].end > LOOKED_BACK * RATE:
            self._recent.popleft()
        if self._config is None:
            if self.position - self._start > self._limit:
                self._emit(Commit(self.position / RATE))
            return
        for probability in self._detector.push(audio):
            self._frame_end += FRAME
            self._voiced = probability >= self._config.release
            if event := self._segmenter.push(probability, self._frame_end, alert=self.alert):
                self._heard(event, self._config)
        if self._open and self.position - self._start > self._limit:
            self._emit(Commit(self.position / RATE))
        if not self._open:
            self._held.forget(self.position - round(self._config.preroll_seconds * RATE), "gated")
        self._work.set()

    def starve(self) -> None:
        """Nothing comes any more: speech that is under way ends here."""
        if self._config is not None and (event := self._segmenter.starve(self.position / RATE)):
            self._heard(event, self._config)

    def _heard(self, event: SpeechStarted | SpeechStopped, config: VadConfig) -> None:
        if isinstance(event, SpeechStopped):
            self._stopped = event.at
            self._decode(final=True)
            self._paused.set()
        else:
            self._resume(event.at, config.preroll_seconds)
        self._emit(event)

    def _resume(self, at: float, preroll: float) -> None:
        """The caller begins to speak, or goes on."""
        self._onset = round(at * RATE)
        if not self._open:
            self._drop_decodes()
            self._held.forget(round((at - preroll) * RATE), "gated")
            self._begun = self._tail_from = self._held.start
            self._open = True
            return
        known = self._latest and self._latest.known
        self._drop_decodes()
        if known:
            self._tail_from = round(max((self._stopped + at) / 2, at - preroll) * RATE)

    # What the dialog decides ------------------------------------------------------------------------------------

    def close(self) -> None:
        """The utterance is over; what comes next belongs to another."""
        if self._latest is None or not self._latest.final:
            self._drop_decodes()
            self._decode(final=True)
            self._reset_detection()
        assert self._latest is not None
        self._held.forget(self._latest.audio.end, "decoded")
        self._next_utterance()

    def clear(self) -> None:
        """Forget the utterance and all audio held."""
        self._drop_decodes()
        self._held.forget(self.position, "dropped")
        self._reset_detection()
        self._next_utterance()

    def hang_up(self) -> None:
        """The caller is gone; settle the books."""
        self._held.forget(self.position, "dropped" if self._open or self._config is None else "gated")

    async def room(self) -> None:
        """Wait until decoding has caught up with what was received."""
        while len(self._finals) > WAITING_FINALS or self._behind() > self._ahead:
            self._progress = anyio.Event()
            await self._progress.wait()

    def _behind(self) -> int:
        """Samples of the open utterance that no finished decode covers, while the caller speaks."""
        if not self.speaking or not self._open:
            return 0
        return self.position - max(self._decoded_upto, self._held.start)

    # Decoding ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decode and judge what there is until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self._turn is not None:
                tasks.start_soon(self._judge_pauses, self._turn)
            await self._recognise_all()

    async def _judge_pauses(self, turn: TurnModel) -> None:
        """Ask the turn model about each pause; about the newest only, if it is slow."""
        while True:
            await self._paused.wait()
            self._paused = anyio.Event()
            utterance, stopped = self._utterance, self._stopped
            heard = join(list(self._recent))
            heard = heard.span(max(heard.start, self._begun), heard.end)
            with suppress(EngineError):  # without an opinion the length of the silence decides
                probability = await turn.judge(heard, session=self._session)
                self._emit(Judged(utterance, stopped, probability))

    async def _recognise_all(self) -> None:
        """One piece at a time."""
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
        first, again = (round(seconds * RATE) for seconds in FIRST_WORDS)
        if self._worded or self.position - self._onset > HOPELESS * RATE:
            first = again = self._partial_samples
        needed = again if self._latest else first
        enough = self.position - (self._latest.audio.end if self._latest else self._onset) >= needed
        if not (enough and (self._voiced or not self._worded)) and self._behind() <= self._ahead:
            return None
        return self._decode(final=False)

    async def _recognise(self, decode: _Decode) -> None:
        """Decode one piece and tell what came of it."""
        if decode.final:
            priority = Priority.SPECULATIVE if decode.utterance == self._utterance else Priority.FINAL
        else:
            priority = Priority.PARTIAL if self._worded else Priority.FIRST_PARTIAL
            priority = Priority.REVIEW if decode.thorough else priority
        fault = ""
        try:
            hypothesis = await self._asr.transcribe(
                decode.audio if decode.final else partial(self._newest, decode),
                priority=priority,
                session=self._session,
                language=self.language,
                likely=self._likely,
                translate=self.translate,
            )
        except EngineError as error:
            self._done(decode)
            if not decode.final:
                return
            hypothesis, fault = Hypothesis(()), str(error)
        self._done(decode)
        if hypothesis.likely not in ("", self._likely):
            self._likely = hypothesis.likely
            self._misheard = self._worded and not decode.thorough
        decode.known = decode.final and not fault
        start, upto = decode.audio.start / RATE, decode.audio.end / RATE
        if decode.thorough:
            transcript = decode.agreement.thorough(hypothesis, start, upto, final=decode.final)
        else:
            transcript = decode.agreement.quick(hypothesis, start, upto)
        if decode is self._latest:
            self._worded = self._worded or bool(hypothesis.words)
            self._scroll(decode)
        self._emit(Recognised(decode.utterance, transcript, fault))

    def _scroll(self, decode: _Decode) -> None:
        """Leave what needs no more looking at out of the next windows."""
        if decode.thorough:
            self._reviewed = decode.audio.end
            self._misheard = False
        if decode.thorough or decode.audio.seconds > TAIL:
            settled = self._agreement.settled(self.position / RATE - TAIL_KEPT, promised=False)
            self._tail_from = self._cut(self._tail_from, settled, TAIL_CUT)
        if decode.thorough and decode.audio.seconds > WHOLE:
            settled = self._agreement.settled(self.position / RATE - WHOLE_KEPT, promised=True)
            if decode.audio.seconds <= UNHEARD:
                settled = min(settled, self._agreement.until)
            self._held.forget(self._cut(self._held.start, settled, WHOLE_CUT), "decoded")

    def _cut(self, start: int, latest: float, within: float) -> int:
        """The quietest place between two words, not before `start`, which it is where nothing else can be told."""
        first = max(start, round((latest - within) * RATE))
        between = [round(moment * RATE) for moment in self._agreement.begins(first / RATE)]
        place = self._held.quietest(first, round(latest * RATE), between)
        return start if place is None else place

    def _done(self, decode: _Decode) -> None:
        decode.done = True
        self._decoded_upto = max(self._decoded_upto, decode.audio.end)

    def _decode(self, *, final: bool) -> _Decode:
        since = self.position - max(self._reviewed, self._held.start)
        thorough = final or self._misheard or since > REVIEWED * RATE
        audio = self._held.since(self._held.start if thorough else self._tail_from)
        decode = _Decode(self._utterance, audio, self._agreement, thorough, final)
        if final:
            if self._latest and not self._latest.done:
                self._latest.scope.cancel()
            self._finals.append(decode)
            self._work.set()
        self._latest = decode
        return decode

    def _newest(self, decode: _Decode) -> Audio:
        """The engine gets to a look at last: what has come in the meantime is looked at too."""
        if decode is self._latest and self._open:
            decode.audio = self._held.since(decode.audio.start)
        return decode.audio

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
        self._tail_from = self._held.start
        self._worded = self._misheard = False
        self._latest = None
        self._agreement = Agreement()

    def _reset_detection(self) -> None:
        if self._config is not None:
            self._detector = self._vad.stream()
            self._segmenter = Segmenter(self._config)
            self._frame_end = self.position / RATE
            self._voiced = False
