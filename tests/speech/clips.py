"""The clips that lie in tests/data, at 16 kHz."""

from pathlib import Path

import msgspec

from streams.audio import Audio, read, resample

FOLDER = Path(__file__).resolve().parent.parent / "data"


class Clip(msgspec.Struct, frozen=True):
    """A line of tests/data/manifest.jsonl."""

    file: str
    kind: str
    transcript: str
    seconds: float
    vad_onset: float | None
    vad_offset: float | None
    licence: str
    origin: str

    def audio(self) -> Audio:
        return resample(read(FOLDER / self.file), 16000)

    def utterance(self) -> Audio:
        """What a caller's utterance hands to recognition: 0.3 s before the speech to 0.2 s after it."""
        assert self.vad_onset is not None
        assert self.vad_offset is not None
        return self.audio().span(round((self.vad_onset - 0.3) * 16000), round((self.vad_offset + 0.2) * 16000))


CLIPS = msgspec.json.decode(
    b"[" + b",".join((FOLDER / "manifest.jsonl").read_bytes().splitlines()) + b"]", type=list[Clip]
)
SPEECH = [clip for clip in CLIPS if clip.kind == "speech"]
NOISE = [clip for clip in CLIPS if clip.kind == "noise"]
