"""Recordings with references: a file of JSON lines, each naming one clip."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from streams.audio import Audio, read

LONGEST = 900.0
"""Seconds a clip may have."""
MOST_LINES = 100_000
MOST_BYTES = 64 * 1024 * 1024
TALK = ("speech", "short", "dialogue", "longform")
"""Kinds with words to be heard."""
QUIET = ("noise", "silence", "music", "tone", "babble", "nonspeech_vocal")
"""Kinds from which nothing should be heard."""


class ManifestError(Exception):
    """A manifest or a clip cannot be used; the message names it and says what to do."""


class _Check(Struct):
    vad_onset: float | None = None
    vad_offset: float | None = None
    align_agrees_with_vad: bool | None = None


class _Line(Struct):
    file: str
    id: str = ""
    kind: str = "speech"
    language: str = ""
    seconds: float | None = None
    transcript: str | None = None
    vad_onset: float | None = None
    vad_offset: float | None = None
    check: _Check | None = None
    corpus: str = ""
    speaker: str = ""


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        id: unique in its manifest; the file's name where the manifest gives none.
        kind: one of `TALK` or `QUIET`, or "rir", a room's response.
        language: ISO 639-1; English where the manifest says nothing.
        seconds: its length; None where the manifest does not say.
        onset, offset: where speech begins and ends, in seconds; None where the manifest does not say.
        trusted: false where the manifest itself doubts those times.
        words: with their times in seconds, from word_times.json beside the manifest; perhaps none.
    """

    id: str
    path: Path
    kind: str
    language: str
    transcript: str
    seconds: float | None
    onset: float | None
    offset: float | None
    trusted: bool
    corpus: str
    speaker: str
    words: tuple[tuple[str, float, float], ...] = ()

    @property
    def talks(self) -> bool:
        """Whether there are words to be heard."""
        return self.kind in TALK

    def audio(self) -> Audio:
        """The sound, at its own rate.

        Raises:
            ManifestError: the file is missing, too long, or no audio.
        """
        try:
            return read(self.path, LONGEST)
        except (OSError, ValueError) as error:
            raise ManifestError(f"clip {self.id}: {error}; mend the manifest's `file`, or take the line out") from error


def read_manifest(path: Path) -> list[Clip]:
    """All clips, in order; files are looked for beside the manifest.

    Raises:
        ManifestError: it is missing, too large, or a line of it is no clip.
    """
    lines = _text(path).splitlines()
    if len(lines) > MOST_LINES:
        raise ManifestError(f"{path}: {len(lines)} lines; split it into files of at most {MOST_LINES}")
    times = _word_times(path.parent / "word_times.json")
    clips, seen = [], set[str]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            clip = _clip(msgspec.json.decode(line, type=_Line), path.parent, times)
        except msgspec.DecodeError as error:
            raise ManifestError(f"{where}: {error}; each line is one JSON object with a `file`") from error
        if clip.id in seen:
            raise ManifestError(f"{where}: a second clip is called {clip.id}; give each an `id` of its own")
        if not clip.path.is_file():
            raise ManifestError(f"{where}: {clip.path}: no such file; paths count from the manifest's folder")
        seen.add(clip.id)
        clips.append(clip)
    if not clips:
        example = '{"file": "a.wav", "transcript": "hello"}'
        raise ManifestError(f"{path}: no clips; write one JSON object a line, such as {example}")
    return clips


def spread(clips: list[Clip], most: int | None) -> list[Clip]:
    """At most so many, evenly over the list."""
    if most is None or len(clips) <= most:
        return clips
    return [clips[n] for n in np.unique(np.linspace(0, len(clips) - 1, most).round().astype(int))]


def chosen(clips: list[Clip], *, kinds: Collection[str], languages: Collection[str] = ()) -> list[Clip]:
    """Clips of those kinds; those with words to be heard have a transcript, and are of those languages, if any."""
    return [
        clip
        for clip in clips
        if clip.kind in kinds
        and (not clip.talks or (clip.transcript and (not languages or clip.language in languages)))
    ]


def sounds(clips: list[Clip], source: str) -> list[Audio]:
    """The recordings of a kind, or the one in a file.

    Raises:
        ManifestError: a recording is not readable.
    """
    found = [clip.audio() for clip in clips if clip.kind == source]
    if found or not Path(source).is_file():
        return found
    try:
        return [read(Path(source), LONGEST)]
    except (OSError, ValueError) as error:
        raise ManifestError(str(error)) from error


def _clip(line: _Line, folder: Path, times: dict[str, Any]) -> Clip:
    check = line.check or _Check()
    name = line.id or line.file
    return Clip(
        id=name,
        path=folder / line.file,
        kind=line.kind,
        language=line.language or "en",
        transcript=line.transcript or "",
        seconds=line.seconds,
        onset=check.vad_onset if line.vad_onset is None else line.vad_onset,
        offset=check.vad_offset if line.vad_offset is None else line.vad_offset,
        trusted=_trusted(line),
        corpus=line.corpus or "no corpus given",
        speaker=line.speaker,
        words=tuple((str(word), float(start), float(end)) for word, start, end in times.get(name, ())),
    )


def _trusted(line: _Line) -> bool:
    """Times that a forced alignment confirms, or nobody doubts; speech that was checked without one is doubtful."""
    if line.check is None or line.vad_offset is not None:
        return True
    agrees = line.check.align_agrees_with_vad
    return line.kind != "speech" if agrees is None else agrees


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ManifestError(f"{path}: larger than {MOST_BYTES} bytes; split it")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not readable ({error}); give a file of JSON lines") from error


def _word_times(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        times = json.loads(_text(path))
    except ValueError as error:
        raise ManifestError(f"{path}: no JSON ({error}); mend it or take it away") from error
    if not isinstance(times, dict):
        raise ManifestError(f'{path}: not an object of the form {{"clip id": [["word", start, end], ...]}}; mend it')
    return times
