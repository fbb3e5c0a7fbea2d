"""What a caller's voice over a sounding answer means. Pure.

The answer is ducked as soon as a voice is heard. What becomes of it follows from the words, and from the time for which
there are none. The first row that applies decides; the last column holds once the voice has ended and the words are
final.

| what is known                                      | so far                           | in the end             |
|----------------------------------------------------|----------------------------------|------------------------|
| the answer's own words: an echo                    | RESTORE                          | RESTORE                |
| one or two of them: "cloudy today"                 | WAIT                             | RESTORE                |
| the same after a question: "large"                 | WAIT                             | CUT                    |
| a stop word or a question word                     | CUT                              | CUT                    |
| two words of content                               | HOLD, CUT from 0.8 s of voice    | CUT                    |
| one word of content; "yes" after a question        | WAIT, HOLD after 0.4 s           | CUT                    |
| words that open a sentence ("I have")              | WAIT, HOLD after 0.4 s           | RESTORE up to 1 s, CUT |
| a guess                                            | WAIT, HOLD after 0.4 s           | HOLD, RESTORE, or CUT  |
| listeners' words ("uh-huh", "yeah", "I see")       | WAIT, HOLD if it outlasts them   | RESTORE                |
| no words in 0.75 s: a cough, typing                | WAIT, HOLD 1 s after a last look | RESTORE                |
| nothing                                            | WAIT, HOLD after 0.4 s           | RESTORE                |

The 0.4 s count from the beginning of the voice, and go on when it has ended before that. A voice that ends with
listeners' words, and lasted no longer than they do, is RESTOREd before they are final. After a guess of up to 1 s the
answer waits for 0.6 s of silence, in case more comes; a longer one CUTs. Where no final words come, the answer is
RESTOREd after 2 s of silence. After a question, words that open a sentence and guesses are content.

A hum is mostly heard as words, each time as others, and the recogniser is sure of none. So content and stop words are a
guess until they are `believed`. What everybody says ("the") is no echo.

Only CUT is for good. What fell silent goes on ducked (HOLD, then WAIT) when a look finds nothing, and what was restored
may be cut when more words come.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache

from voice.agreement import plain
from voice.events import Transcript

MANY = 2
"""Words of content that are an interruption even before they are final."""
SETTLED = 0.8
"""Seconds of voice from which that holds; what is heard in less is often a hum misheard."""
CERTAIN, LIKELY = 0.5, 0.33
"""Confidence from which a word is believed at once, and one that is often said to stop somebody; others when they are
heard twice."""
DOUBTFUL = -1.0
"""Mean log probability per token below which no word is believed at once."""
PATIENCE = 0.4
"""Seconds from its beginning after which a voice makes the answer fall silent, if nothing speaks against it."""
WORD = 0.2
"""Seconds of voice that a word takes at least; a voice that ended before that makes nothing fall silent."""
LOOKED = 0.75
"""Seconds of audio in which a recogniser finds words, if it is speech."""
UNSEEN = 1.0
"""Seconds that a noise may go on after the last look at it."""
EACH, SLACK = 0.3, 0.45
"""Seconds that a listener's word lasts, and how much longer the voice may last than all of them."""
BRIEF = 1.0
"""Seconds of voice up to which words that only open a sentence are a slip of the tongue, or a hum misheard."""
PAUSE = 0.6
"""Seconds of silence within which a voice may go on: "Okay. Stop." is said in one."""
ONE_WORD = 0.6
"""Seconds up to which a single word is a listener's, in a language we have no lists of."""
LATE = 2.0
"""Seconds of silence after which no more words are expected."""
ECHO = 3
"""Words from which most of them, not all, must be the answer's own."""


class Verdict(Enum):
    """What to do with the answer."""

    WAIT = "wait"
    """Not known yet: it stays ducked."""
    HOLD = "hold"
    """Probably an interruption: it falls silent, reversibly."""
    CUT = "cut"
    """An interruption: it ends."""
    RESTORE = "restore"
    """None: it goes on at full volume."""


@dataclass(frozen=True, slots=True)
class Interjection:
    """A caller's voice over an answer, so far.

    Attributes:
        voiced: seconds from its first to its last speech.
        speaking: it goes on.
        silent: seconds of silence since it ended, 0 while `speaking`.
        looked: seconds of it that the recogniser has looked at; 0: has not come back yet. May exceed `voiced`.
        text: all words known so far, tentative ones included.
        sure: those of its words that are believed, see `believed`.
        final: the text is the recogniser's last word on the speech so far; counts once that has ended.
        asked: the answer has asked a question in what has sounded.
        sounding: words of the answer that sounded in the last seconds before the voice, and during it.
        language: of the text, ISO 639-1.
    """

    voiced: float
    speaking: bool
    silent: float
    looked: float
    text: str
    sure: frozenset[str]
    final: bool
    asked: bool
    sounding: str
    language: str


def verdict(said: Interjection) -> Verdict:
    """What the voice means, as far as is known."""
    return _judge(said)[0]


def due(said: Interjection) -> float | None:
    """When the verdict changes by time alone: seconds of `voiced` while speaking, else of `silent`.

    None where only news changes it.
    """
    return _judge(said)[1]


def echoes(text: str, sounding: str) -> bool:
    """Whether what was heard is what we were saying.

    Up to two words must be there as they are; of more two in three, by the edit distance to the nearest stretch of
    `sounding` (Sellers 1980). The last word may be cut off.
    """
    heard, ours = _once(_words(text)), _words(sounding)
    if not heard or not ours:
        return False
    row = [0] * (len(ours) + 1)
    for n, word in enumerate(heard, 1):
        last = n == len(heard) and len(word) > 2
        above, row = row, [n]
        for m, other in enumerate(ours, 1):
            differs = not (other.startswith(word) if last else other == word)
            row.append(min(above[m] + 1, row[m - 1] + 1, above[m - 1] + differs))
    return min(row) <= (len(heard) // 3 if len(heard) >= ECHO else 0)


def believed(heard: Transcript, before: str) -> frozenset[str]:
    """Which words of a look are no mere guess: the recogniser is sure of them, or had them in its text `before`."""
    stops = {word for phrase, kind in _kinds(heard.language).items() if kind == "stop" for word in phrase}
    again = frozenset(_words(before))
    again |= {_OTHERWISE[word] for word in again & _OTHERWISE.keys()}
    return frozenset(
        part
        for word in heard.words
        for part in _words(word.text)
        if part in again or (heard.logprob >= DOUBTFUL and word.confidence >= (LIKELY if part in stops else CERTAIN))
    )


def _judge(said: Interjection) -> tuple[Verdict, float | None]:
    """The verdict, and when it changes."""
    spoken = _words(said.text)
    known = _once(spoken)
    kinds, content = min(_parsed(spoken, said), _parsed(known, said), key=lambda parsed: parsed[1])
    if echoes(said.text, said.sounding) and (content or kinds - _EVERYBODYS or len(known) >= ECHO):
        if len(known) < ECHO:
            return _until(said, None, Verdict.CUT if said.asked else Verdict.RESTORE)
        return Verdict.RESTORE, None
    if "stop" in kinds or (content >= MANY and said.voiced >= SETTLED):
        return Verdict.CUT, None
    if content >= MANY:
        held, changes = _until(said, 0.0, Verdict.CUT)
        return held, SETTLED if said.speaking else changes
    if content or (said.asked and kinds & {"assent", "opening", "doubtful"}):
        return _until(said, PATIENCE, Verdict.CUT)
    if kinds & {"opening", "doubtful"}:
        if "doubtful" in kinds and said.final and not said.speaking and said.silent < PAUSE and said.voiced <= BRIEF:
            return Verdict.HOLD, PAUSE
        return _until(said, PATIENCE, Verdict.RESTORE if said.voiced <= BRIEF else Verdict.CUT)
    if kinds:
        room = EACH * len(spoken) + SLACK if said.language in _PHRASES else ONE_WORD
        if said.voiced < room and not said.speaking:
            return Verdict.RESTORE, None
        return _until(said, room, Verdict.RESTORE)
    if said.looked >= LOOKED:
        return _until(said, said.looked + UNSEEN, Verdict.RESTORE)
    return _until(said, PATIENCE if said.speaking or said.voiced >= WORD else None, Verdict.RESTORE)


def _until(said: Interjection, patience: float | None, last: Verdict) -> tuple[Verdict, float | None]:
    """WAIT; HOLD from `patience` seconds after its beginning; `last` when the text is final, RESTORE when it never
    comes."""
    if said.speaking:
        held = patience is not None and said.voiced >= patience
        return (Verdict.HOLD, None) if held else (Verdict.WAIT, patience)
    if said.final:
        return last, None
    if said.silent >= LATE:
        return Verdict.RESTORE, None
    rest = LATE if patience is None else patience - said.voiced
    return (Verdict.WAIT, rest) if said.silent < rest else (Verdict.HOLD, LATE)


# Words ----------------------------------------------------------------------------------------------------------

_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""A letter of a script that writes no spaces; two of them count as a word."""
_HUM = re.compile(r"(?=..)[mnha]*[mnh][mnha]*")
"""Hums, laughs, and what recognisers write for them: mm, hm-hm, nhm, aha, haha, mama, nam."""
_ANYWHERE = {
    "assent": "ok, okay, uh huh, uhhuh, uhuh, mhm, mmhm, mmhmm, hmhm, mhmm, nhm, aha, ehe",
    "listening": "hm, hmm, hmmm, mm, mmm, ah, ahh, oh, ohh, ooh, eh, uh, uhh, um, umm, ha, haha, huh, wow",
}
_PHRASES = {
    "en": {
        "assent": "yeah, yea, yep, yup, yes, ya, sure, alright, all right, right, fine, of course, exactly, correct, "
        "true, absolutely, definitely, good, great, perfect, got it, sounds good, thats right, i am, i do, i did",
        "listening": "i see, go on, go ahead, continue, wow, really, cool, nice, gotcha, makes sense, i know, thanks, "
        "thank you, interesting, amazing, awesome, understood, fair enough, no way, no problem, no worries, oh no",
        "stop": "stop, wait, hold on, hold up, hang on, hey, no, nope, nah, excuse me, pardon, sorry, but, actually, "
        "enough, quiet, shut up, pause, cancel, never mind, nevermind, one moment, just a moment, one second, "
        "a second, listen, hello, help, repeat, again, what, whats, why, who, where, when, which",
        "opening": "a, an, the, and, or, of, in, it, its, is, has, have, had, i, im, ive, id, ill, he, him, hes, her, "
        "hem, hen, them, then, me, my, so, well, like, you know, er, erm",
    },
    "de": {
        "assent": "ja, jo, jap, jawohl, genau, gut, na gut, klar, alles klar, richtig, stimmt, sicher, gerne, passt",
        "listening": "ach, ach so, achso, verstehe, ich verstehe, interessant, wirklich, echt, super, toll, prima, "
        "danke, weiter, mach weiter, na ja, naja, äh, ähm, öh, hä",
        "stop": "stopp, stop, halt, warte, warten sie, moment, nein, nee, nö, aber, entschuldigung, sekunde, sorry, "
        "genug, ruhe, pause, abbrechen, hallo, hilfe, was, wie, wie bitte, warum, wer, wo, wann, welche",
        "opening": "der, die, das, ein, eine, und, oder, ich, ich bin, es, ist, hat, er, ihm, ihn, also, dann, so",
    },
    "fr": {
        "assent": "oui, ouais, daccord, bien sûr, bon, très bien, bien, voilà, exact, exactement, parfait, entendu",
        "listening": "je vois, ah bon, vraiment, compris, je comprends, super, génial, merci, intéressant, continue, "
        "continuez, euh, heu, ben, tiens",
        "stop": "stop, arrête, arrêtez, attends, attendez, non, mais, pardon, désolé, désolée, un instant, "
        "une seconde, excusezmoi, assez, silence, pause, annule, allô, aide, quoi, pourquoi, qui, où, quand, comment",
        "opening": "le, la, les, un, une, et, ou, de, je, jai, cest, il, elle, est, a, mon, ma, alors, donc",
    },
    "es": {
        "assent": "sí, si, vale, claro, bueno, bien, muy bien, exacto, de acuerdo, correcto, perfecto, por supuesto",
        "listening": "ya, ya veo, entiendo, ajá, verdad, de verdad, genial, gracias, interesante, sigue, siga, ay",
        "stop": "para, espera, espere, alto, no, pero, perdón, perdona, disculpa, disculpe, un momento, un segundo, "
        "basta, silencio, pausa, cancela, hola, ayuda, qué, por qué, quién, dónde, cuándo, cuál, cómo",
        "opening": "el, la, los, las, un, una, y, o, de, yo, es, ha, he, mi, su, lo, entonces, pues, este",
    },
}
_EVERYBODYS = {"assent", "listening", "opening"}
"""What these say tells nothing of who says it."""
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_OTHERWISE = {name: str(n) for n, name in enumerate(_DIGITS)} | {str(n): name for n, name in enumerate(_DIGITS)}
"""Digits are written now so, now so."""
_LONGEST = 3
"""Words of the longest phrase."""


def _words(text: str) -> list[str]:
    """The words as they are compared; every letter of a script without spaces is one."""
    words = [word for word in map(plain, text.split()) if word]
    return [part for word in words for part in (word if _UNSPACED.search(word) else (word,))]


def _once(words: list[str]) -> list[str]:
    """A text that goes in circles, as quick looks at brief audio often do, without its repetitions.

    The last word may have got no further than its first letter: "I see, I see", "Yep, y".
    """
    for period in range(1, len(words)):
        rest, before = words[period:], words[:-period]
        whole = len(rest) - (len(rest[-1]) == 1)
        if rest[:whole] == before[:whole] and before[-1].startswith(rest[-1]):
            return words[:period]
    return words


@cache
def _kinds(language: str) -> dict[tuple[str, ...], str]:
    """What the phrases of a language say."""
    lists = (_ANYWHERE, _PHRASES.get(language, {}))
    return {tuple(phrase.split()): kind for each in lists for kind, text in each.items() for phrase in text.split(", ")}


def _parsed(words: list[str], said: Interjection) -> tuple[set[str], float]:
    """The kinds of phrases there are, and how many words are none of these: content.

    Content and words that stop count when they are believed; else there is something "doubtful".
    """
    phrases = _kinds(said.language)
    kinds, content, at = set(), 0.0, 0
    while at < len(words):
        for size in range(_LONGEST, 0, -1):
            phrase = tuple(words[at : at + size])
            if kind := phrases.get(phrase):
                break
        size = len(phrase)
        at += size
        if kind not in (None, "stop") or _HUM.fullmatch(phrase[0]):
            kinds.add(kind or "assent")
        elif said.sure.isdisjoint(phrase):
            kinds.add("doubtful")
        elif kind:
            kinds.add(kind)
        else:
            content += 0.5 if _UNSPACED.match(phrase[0]) else 1
    if said.language not in _PHRASES and not said.asked and content <= 1 and said.voiced <= ONE_WORD:
        return kinds | ({"listening"} if content else set()), 0.0
    return kinds, content
