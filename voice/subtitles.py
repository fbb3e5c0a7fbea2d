"""Words with times as subtitles and as the files people keep: text, JSON, SubRip and WebVTT."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from voice.events import Word

Format = Literal["txt", "json", "srt", "vtt"]

LONGEST = 84
"""Characters of a cue: two lines of 42, the usual limit for subtitles."""
CUE_SECONDS = 7.0
GAP_SECONDS = 1.0
"""A silence of this length ends a cue."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: words shown together, times in seconds."""

    start: float
    end: float
    text: str


def cues(words: "Iterable[Word]") -> list[Cue]:
    """Group words into subtitles: a sentence each, cut where it is too long, too slow or interrupted."""
    groups: list[list[Word]] = []
    for word in words:
        if groups and _fits(groups[-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    return [Cue(group[0].start, group[-1].end, " ".join(word.text for word in group)) for group in groups]


def _fits(group: "Sequence[Word]", word: "Word") -> bool:
    return (
        not group[-1].text.endswith((".", "?", "!"))
        and sum(len(each.text) + 1 for each in group) + len(word.text) <= LONGEST
        and word.end - group[0].start <= CUE_SECONDS
        and word.start - group[-1].end < GAP_SECONDS
    )


def render(words: "Sequence[Word]", kind: Format, *, language: str, seconds: float) -> str:
    """A transcript as a file's text, with a line break at its end.

    Args:
        language: ISO 639-1 code.
        seconds: duration of the audio.
    """
    if kind == "txt":
        return " ".join(word.text for word in words) + "\n"
    if kind == "json":
        return json.dumps(_verbose(words, language, seconds), ensure_ascii=False) + "\n"
    mark = "," if kind == "srt" else "."
    blocks = [
        f"{_clock(cue.start, mark)} --> {_clock(cue.end, mark)}\n{_safe(cue.text, kind)}\n" for cue in cues(words)
    ]
    if kind == "srt":
        return "\n".join(f"{number}\n{block}" for number, block in enumerate(blocks, 1))
    return "\n".join(["WEBVTT\n", *blocks])


def _verbose(words: "Sequence[Word]", language: str, seconds: float) -> dict[str, object]:
    """The shape of OpenAI's `verbose_json`."""
    return {
        "task": "transcribe",
        "language": language,
        "duration": round(seconds, 3),
        "text": " ".join(word.text for word in words),
        "segments": [
            {"id": number, "start": round(cue.start, 3), "end": round(cue.end, 3), "text": cue.text}
            for number, cue in enumerate(cues(words))
        ],
        "words": [{"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)} for word in words],
    }


def _clock(seconds: float, mark: str) -> str:
    """HH:MM:SS.mmm, with the decimal mark given."""
    total = round(max(0.0, seconds) * 1000)
    return f"{total // 3_600_000:02}:{total // 60_000 % 60:02}:{total // 1000 % 60:02}{mark}{total % 1000:03}"


def _safe(text: str, kind: Format) -> str:
    """Text in which WebVTT sees no tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") if kind == "vtt" else text
