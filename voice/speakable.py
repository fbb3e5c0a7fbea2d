"""From a language model's text to words that can be said: markdown, links, code and emoji are taken out on the way."""

import html
import re

BREAK = "\n"
"""Stands between the words of two lines."""

MARKS = frozenset(",.;:!?")
"""Tokens that belong to the end of the word before them."""

_WORD_LIMIT = 1000
"""Characters after which a word (a long URL, say) is taken as it is."""
_SPACED_LIMIT = 300
"""The same for what may hold spaces: a tag, a link with a title."""

_CLOSERS = "\"'”’»)]}"
_OPENERS = "\"'“‘«([{"
_ABBREVIATION = re.compile(
    r"(?:dr|mrs?|ms|prof|sr|jr|st|mt|ave|blvd|rd|dept|approx|vs|etc|inc|ltd|corp?|co|est|gen|col|capt|lt|sgt|rev|hon|fig|"
    r"vol|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thurs?|thu|fri|ph\.d|tel|ext|cf|al)\.",
    re.IGNORECASE,
)
_INITIALS = re.compile(r"(?:[A-Za-z]\.)+")
_HIDDEN = re.compile(r"```|~~~|<think>")
_LINK = re.compile(r"!?\[([^\]]*)\]\((?:[^()]|\([^()]*\))*\)|\]\((?:[^()]|\([^()]*\))*\)?")
_URL = re.compile(r"<?\b((?:https?://|www\.)[^\s<>\"']*[^\s<>\"'.,;:!?)*_`])>?", re.IGNORECASE)
_DOMAIN = re.compile(r"(?:https?://)?(?:[^/?#@]*@)?(?:www\.)?([^/?#:]*)", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!~>|-])")
_PRODUCT = re.compile(r"(?<=\d)\*(?=\d)")
_EMPHASIS = re.compile(r"!?\[|[*`\]|]|~~+|(?<![^\W_])_+|_+(?![^\W_])")
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff\ufe0f\u20e3\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff"
    "\U0001f000-\U0001faff\U000e0020-\U000e007f]+"
)
_OPENING = re.compile(r"[-*+•‣▪>]+|#{1,6}")
_NUMBER = re.compile(r"\d{1,3}[.)]")
_RULE = re.compile(r"[-=_#~^\\/+<>:]{3,}|[#>\\]+|:-+:?|-+:")


def ends_sentence(word: str) -> bool:
    """Whether a sentence is over after this word: not after abbreviations, initials and ellipses."""
    core = word.rstrip(_CLOSERS)
    if not core.endswith("."):
        return core.endswith(("!", "?", "。", "！", "？"))
    bare = core.lstrip(_OPENERS)
    if bare == "I.":
        return True
    return not (core.endswith("..") or _INITIALS.fullmatch(bare) or _ABBREVIATION.fullmatch(bare))


def pauses(word: str) -> bool:
    """Whether a reader pauses after this word in the middle of a sentence."""
    core = word.rstrip(_CLOSERS)
    return core.endswith((",", ";", ":", "—", "–", "…", "...", "，", "；", "：", "、")) or core in ("-", "--")


def sayable(text: str) -> bool:
    """Whether there is a letter or a digit in it."""
    return any(character.isalnum() for character in text)


class Reader:
    """Reads text as it arrives; gives each plain word as soon as the white space after it is seen.

    How the text is cut into deltas makes no difference. Code blocks and a model's `<think>` block are left out, list
    items and headings end with a full stop, cells of a table with a comma; a URL becomes its domain.
    """

    def __init__(self) -> None:
        self._raw = ""
        self._closer = ""
        self._number = ""
        self._opening = True
        self._item = False

    def push(self, delta: str) -> list[str]:
        """Words that are complete, one of `MARKS` to be put after the last word, and `BREAK` where a line ends."""
        ready: list[str] = []
        for character in delta:
            if character == "\n":
                ready += self._end_line()
            elif character == "|" and not self._spaced():
                ready += self._end_cell()
            elif not character.isspace():
                self._raw += character
                if len(self._raw) >= _WORD_LIMIT or character in "。！？":
                    ready += self._end_word()
            elif self._spaced():
                self._raw += " "
            else:
                ready += self._end_word()
        return ready

    def finish(self) -> list[str]:
        """The rest, once the text is complete."""
        return self._end_line()

    def _spaced(self) -> bool:
        """Whether the open word is a link or a tag that has not ended."""
        if len(self._raw) >= _SPACED_LIMIT:
            return False
        link, tag = self._raw.rfind("]("), self._raw.rfind("<")
        if link >= 0 and self._raw.count("(", link) > self._raw.count(")", link):
            return True
        follower = self._raw[tag + 1 : tag + 2]
        return tag >= 0 and ">" not in self._raw[tag:] and (follower.isalpha() or follower in ("/", "!"))

    def _end_line(self) -> list[str]:
        ready = self._end_word()
        if self._number:
            ready.append(self._number)
        if self._item and not self._opening:
            ready.append(".")
        if not self._opening or self._number:
            ready.append(BREAK)
        self._opening, self._item, self._number = True, False, ""
        return ready

    def _end_cell(self) -> list[str]:
        ready = self._end_word()
        if self._closer:
            return ready
        if self._opening:
            self._item = True
            return ready
        return [*ready, ","]

    def _end_word(self) -> list[str]:
        raw, self._raw = self._visible(self._raw), ""
        if self._opening and _OPENING.fullmatch(raw):
            self._item = True
            return []
        if raw == "*":
            return ["×"]
        words = [word for word in _plain(raw).split() if not _RULE.fullmatch(word)]
        if not words:
            return []
        if self._opening and not self._number and len(words) == 1 and _NUMBER.fullmatch(words[0]):
            self._number, self._item = words[0], True
            return []
        if self._number:
            words[0] = f"{self._number} {words[0]}"
        self._opening, self._number = False, ""
        return words

    def _visible(self, raw: str) -> str:
        """What of a word lies outside code and thought."""
        shown = ""
        while raw:
            if self._closer:
                _, closer, raw = raw.partition(self._closer)
                if closer:
                    self._closer = ""
            elif match := _HIDDEN.search(raw):
                shown += raw[: match.start()] + " "
                raw = raw[match.end() :]
                self._closer = "</think>" if match[0] == "<think>" else match[0]
            else:
                return shown + raw
        return shown


def _plain(raw: str) -> str:
    """One word (or link, or tag) without markup."""
    text = _LINK.sub(lambda link: link[1] or "", html.unescape(raw))
    text = _URL.sub(lambda url: _DOMAIN.match(url[1])[1], text)  # type: ignore[index]  # the pattern matches anything
    text = _TAG.sub(" ", text)
    text = _ESCAPE.sub(r"\1", _UNSEEN.sub(" ", text))
    text = _EMPHASIS.sub("", _PRODUCT.sub("×", text))
    return text.replace("_", " ")
