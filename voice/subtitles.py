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
LONG = 50
"""Characters from which on a comma ends a cue."""
CUE_SECONDS = 7.0
GAP_SECONDS = 1.0
"""A silence of this length ends a cue."""
SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "؟", "।", "۔")
CLAUSE_ENDS = (",", ";", ":", "،", "、", "，")


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
        if groups and fits(groups[-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    return [cue(group) for group in groups]


def cue(group: "Sequence[Word]") -> Cue:
    """One or more words as a subtitle."""
    return Cue(group[0].start, group[-1].end, " ".join(word.text for word in group))


def complete(group: "Sequence[Word]") -> bool:
    """Whether a subtitle ends with these words: the sentence does, or, once it is long, a part of it."""
    last = group[-1].text
    return last.endswith(SENTENCE_ENDS) or (last.endswith(CLAUSE_ENDS) and _length(group) >= LONG)


def fits(group: "Sequence[Word]", word: "Word") -> bool:
    """Whether a word still belongs to the subtitle of those before it."""
    return (
        not complete(group)
        and _length(group) + 1 + len(word.text) <= LONGEST
        and word.end - group[0].start <= CUE_SECONDS
        and word.start - group[-1].end < GAP_SECONDS
    )


def _length(group: "Sequence[Word]") -> int:
    """Characters of a subtitle."""
    return sum(len(word.text) + 1 for word in group) - 1


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
    return written(cues(words), kind)


def written(shown: "Sequence[Cue]", kind: Literal["srt", "vtt"]) -> str:
    """Subtitles as a file's text, with a line break at its end."""
    blocks = [block(cue, kind) for cue in shown]
    if kind == "srt":
        return "\n".join(f"{number}\n{text}" for number, text in enumerate(blocks, 1))
    return "\n".join(["WEBVTT\n", *blocks])


def block(cue: Cue, kind: Literal["srt", "vtt"]) -> str:
    """One subtitle as it stands in a file."""
    mark = "," if kind == "srt" else "."
    return f"{_clock(cue.start, mark)} --> {_clock(cue.end, mark)}\n{_safe(cue.text, kind)}\n"


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
