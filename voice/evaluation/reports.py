"""The pages: what was found, for people to look at."""

from voice.evaluation import plots
from voice.evaluation.asr import Figures, commit_lags, finalization, first_partial, scored, worst
from voice.evaluation.page import comparisons, page, picture, section, table, terms
from voice.evaluation.tables import TURN_COLUMNS, errors, recognition_rows, spread, turn_cells
from voice.evaluation.take import Take
from voice.evaluation.turns import Setting, cuts

DEFINITIONS = [
    (
        "word error rate",
        "wrong, missing and added words by words of the reference; Whisper's normaliser on both",
    ),
    ("95 % interval", "of the rate, from drawing the clips again and again (bootstrap); left out under 8 clips"),
    ("first text shown", "from the onset of speech to the first words on the caller's screen"),
    ("end of a word", "until it stands in text that will not change, or until the final text is known"),
    ("final text", "from the end of speech until the recogniser's text for all of it is there"),
    ("UPWR", "words changed or taken back after they were shown, by words of the final text"),
    ("engine seconds", "processor time of recognition and voice detection, for a second from onset to end of speech"),
    ("false words", "heard in clips in which nobody speaks to the telephone"),
]
TURN_DEFINITIONS = [
    ("delay", "from the end of speech until the utterance is closed"),
    (
        "inner pause",
        "at least 0.2 s inside the speech without voice, by the voice detector, in the clean recording",
    ),
    ("taken for the end", "an utterance was closed on the speech before such a pause although more followed"),
]


def recognition(model: str, about: list[tuple[str, str]], found: list[Figures], takes: list[Take]) -> str:
    """The page of `eval asr`."""
    talk = [take for take in takes if take.clip.talks and take.clip.trusted]
    named = [
        ("first text shown", [at for take in talk if (at := first_partial(take)) is not None]),
        ("a word stands", [lag for take in talk for lag in commit_lags(take)]),
        ("final text known", [at for take in talk if (at := finalization(take)) is not None]),
    ]
    rates = "; ".join(f"{one.condition} {errors(one.words)}" for one in found)
    times = "; ".join(
        f"{name} {spread(values)}"
        for one in found[:1]
        for name, values in (("first text", one.first_partial), ("final text", one.finalization))
    )
    return page(
        f"Recognition with {model}",
        about,
        [
            section(
                "Figures",
                table("One column per condition", ["figure", *(one.condition for one in found)],
                      [(name, *cells) for name, cells in recognition_rows(found)]),
            ),
            section(
                "Word errors",
                picture("errors", plots.word_errors(found), "By condition; the lines are 95 % intervals.",
                        f"Word error rates: {rates}."),
            ),
            section(
                "How soon",
                picture("latencies", plots.latencies(named), "All conditions together.",
                        f"Latencies, p50 / p95: {times}."),
            ),
            section("Clips with most errors", comparisons(_comparison(take) for take in worst(takes))),
            section("What the figures mean", terms(DEFINITIONS)),
        ],
    )  # fmt: skip


def _comparison(take: Take) -> tuple[str, str, str]:
    wrong = scored(take)
    what = f"{wrong.errors} errors in {wrong.words} words" if take.clip.talks else take.clip.kind
    return f"{take.clip.id}, {take.condition}: {what}", take.clip.transcript if take.clip.talks else "", take.text


def turns(about: list[tuple[str, str]], found: list[Setting], takes: list[Take]) -> str:
    """The page of `eval turns`; `takes` are those of the first setting."""
    first = found[0]
    points = "; ".join(
        f"{one.name}: {1000 * one.whole.delay.p50:.0f} ms, {100 * one.whole.rate:.1f} %"
        for one in found
        if one.whole.delay.p50 is not None and one.whole.rate is not None
    )
    columns = list(TURN_COLUMNS)
    by_corpus = [(corpus, *turn_cells(ends)) for corpus, ends in first.corpora.items()]
    cut = sorted((take for take in takes if cuts(take)[0]), key=lambda take: -len(cuts(take)[0]))
    return page(
        "Turn ends",
        about,
        [
            section("Ways to detect turns", table("One row per way", columns,
                                                  [(one.name, *turn_cells(one.whole)) for one in found])),
            section(
                "Sooner or surer",
                picture("trade", plots.trade_off(found),
                        "The further down and to the left the better. Numbers are seconds of silence.",
                        f"Median delay and inner pauses taken for the end. {points}."),
            ),
            section("By corpus", table(f"{first.name}, by corpus", ["corpus", *columns[1:]], by_corpus)),
            section("Clips cut most often", comparisons(
                (f"{take.clip.id}: {len(cuts(take)[0])} of {len(take.pauses)} pauses taken for the end",
                 take.clip.transcript, " | ".join(one.final or "" for one in take.utterances))
                for take in cut[:20]
            )),
            section("What the figures mean", terms(TURN_DEFINITIONS)),
        ],
    )  # fmt: skip
