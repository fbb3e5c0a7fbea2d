"""`rejoinder eval`: how well this configuration hears, on recordings of yours."""

import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from voice.console import ConfigOption, Mistake, SetOption, fetch, load_config, progress, wide_console, written
from voice.models import Store, needed

if TYPE_CHECKING:
    from voice.config import Config
    from voice.evaluation.conditions import Condition
    from voice.evaluation.manifest import Clip
    from voice.evaluation.runner import Plan
    from voice.evaluation.take import Take

PACKAGES = ("jiwer", "matplotlib", "whisper_normalizer")

evaluation = typer.Typer(help="How well this configuration hears, on recordings with references.")

ManifestArgument = Annotated[
    Path, typer.Argument(metavar="MANIFEST", help="JSON lines: file, kind, language, transcript, ...")
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Recogniser's model (asr.model).")]
KindOption = Annotated[list[str] | None, typer.Option("--kind", help="Kinds of clips; may be repeated.")]
LanguageOption = Annotated[list[str] | None, typer.Option("--language", help="Languages of clips; may be repeated.")]
MostOption = Annotated[
    int | None, typer.Option("--most", min=1, help="At most so many clips with speech, and as many without, spread.")
]
CallersOption = Annotated[int, typer.Option("--callers", min=1, max=256, help="Callers at the same time.")]
RealTimeOption = Annotated[
    bool, typer.Option("--real-time", help="On the machine's own clock and threads, not on virtual time.")
]
ConditionOption = Annotated[
    list[str] | None,
    typer.Option("--condition", help="clean, noise:SNR, babble:SNR, room, telephone; may be repeated."),
]
NoiseOption = Annotated[
    str | None, typer.Option("--noise", help="For noise and babble: a sound file, or a kind of clip in the manifest.")
]
RoomOption = Annotated[Path | None, typer.Option("--room", help="A room's response; else the manifest's kind rir.")]
StockOption = Annotated[bool, typer.Option("--stock", help="The same clips through faster-whisper's own transcribe.")]
CurveOption = Annotated[
    bool, typer.Option("--curve/--no-curve", help="Also fixed silences and each eagerness, to choose from.")
]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write a page to look at there.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write everything there.")]


@evaluation.command("asr")
def asr_command(
    manifest: ManifestArgument,
    model: ModelOption = None,
    kinds: KindOption = None,
    languages: LanguageOption = None,
    most: MostOption = None,
    conditions: ConditionOption = None,
    noise: NoiseOption = None,
    room: RoomOption = None,
    stock: StockOption = False,
    callers: CallersOption = 1,
    real_time: RealTimeOption = False,
    json: JsonOption = None,
    html: HtmlOption = None,
    file: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Word errors, latencies, stability and cost of recognition."""
    _installed()
    from voice.evaluation import asr, reports, tables
    from voice.evaluation.manifest import QUIET
    from voice.evaluation.runner import Plan

    config, store = _ready(file, sets, model)
    every = _read(manifest)
    clips = _chosen(every, kinds or ["speech", *QUIET], languages, most)
    plan = Plan(config, clips, _conditions(conditions, every, noise, room), callers=callers, real_time=real_time)
    takes = _run(plan, store)
    if stock:
        _run_stock(plan, store, takes)
    found = asr.figures(takes)
    wide_console().print(tables.recognition(found))
    if json:
        report = {"model": config.asr.model, "figures": found, "clips": asr.rows(takes)}
        written(json, partial(Path.write_bytes, data=_json(report)))
    if html:
        text = reports.recognition(config.asr.model, _about(manifest, plan), found, takes)
        written(html, partial(Path.write_text, data=text, encoding="utf-8"))


@evaluation.command("turns")
def turns_command(
    manifest: ManifestArgument,
    model: ModelOption = None,
    kinds: KindOption = None,
    languages: LanguageOption = None,
    most: MostOption = None,
    curve: CurveOption = True,
    callers: CallersOption = 1,
    real_time: RealTimeOption = False,
    json: JsonOption = None,
    html: HtmlOption = None,
    file: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """How soon the end of a turn is found, and how often a pause is taken for it."""
    _installed()
    from voice.evaluation import reports, tables, turns
    from voice.evaluation.conditions import Condition
    from voice.evaluation.runner import Plan

    config, store = _ready(file, sets, model)
    clips = _chosen(_read(manifest), kinds or ["speech", "short", "dialogue"], languages, most)
    plan = Plan(config, clips, [Condition()], callers=callers, real_time=real_time)
    takes = {"as configured": _run(plan, store, "as configured")}
    for name, detection in turns.SETTINGS.items() if curve else ():
        other = replace(
            plan,
            settings={"turn_detection": detection},
            hearing="nothing" if detection["type"] == "server_vad" else "finals",
            real_time=False,
        )
        takes[name] = _run(other, store, name)
    found = [turns.setting(name, group) for name, group in takes.items()]
    wide_console().print(tables.turns(found, found[0]))
    if json:
        single = [row for name, group in takes.items() for row in turns.rows(name, group)]
        written(json, partial(Path.write_bytes, data=_json({"settings": found, "clips": single})))
    if html:
        text = reports.turns(_about(manifest, plan), found, takes["as configured"])
        written(html, partial(Path.write_text, data=text, encoding="utf-8"))


def _ready(file: Path | None, sets: list[str] | None, model: str | None) -> tuple["Config", Store]:
    """The configuration, and the store with what the recogniser needs in it."""
    config, _ = load_config(file, [*(sets or []), *([f"asr.model={model}"] if model else [])])
    store = Store(config.models)
    hearing = (config.asr.model, config.endpoint.model)
    fetch(store, [name for name in needed(config) if name in hearing])
    return config, store


def _read(manifest: Path) -> list["Clip"]:
    from voice.evaluation.manifest import ManifestError, read_manifest

    try:
        return read_manifest(manifest)
    except ManifestError as error:
        raise Mistake(str(error)) from error


def _chosen(every: list["Clip"], kinds: list[str], languages: list[str] | None, most: int | None) -> list["Clip"]:
    from voice.evaluation.manifest import chosen, spread

    clips = chosen(every, kinds=kinds, languages=languages or ())
    if not clips:
        there = ", ".join(sorted({clip.kind for clip in every}))
        raise Mistake(
            f"no clip with a transcript fits; the manifest has the kinds {there}: choose another --kind or --language"
        )
    talk, quiet = ([clip for clip in clips if clip.talks is talks] for talks in (True, False))
    return spread(talk, most) + spread(quiet, most)


def _conditions(
    specs: list[str] | None, every: list["Clip"], noise: str | None, room: Path | None
) -> list["Condition"]:
    from voice.evaluation.conditions import ConditionError, parse
    from voice.evaluation.manifest import ManifestError, sounds

    given = {"rir": str(room) if room else "rir", "noise": noise or "noise", "babble": noise or "babble"}
    try:
        return [parse(spec, lambda kind: sounds(every, given[kind])) for spec in dict.fromkeys(specs or ["clean"])]
    except (ConditionError, ManifestError) as error:
        raise Mistake(str(error)) from error


def _run(plan: "Plan", store: Store, what: str = "listening") -> list["Take"]:
    from voice.engines import EngineError
    from voice.evaluation.manifest import ManifestError
    from voice.evaluation.runner import play_all

    with progress() as bars:
        task = bars.add_task(what, total=len(plan.jobs))
        try:
            takes = play_all(plan, store, lambda _: bars.advance(task))
        except* (EngineError, ManifestError) as errors:
            first: BaseException = errors
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise Mistake(str(first)) from errors
    if not takes:
        raise Mistake(f"{plan.config.asr.model} knows none of the clips' languages; choose another --model")
    _left_out(plan, takes)
    return takes


def _left_out(plan: "Plan", takes: list["Take"]) -> None:
    """Tell which languages were not even tried."""
    heard = {take.clip.language for take in takes if take.clip.talks}
    if missing := sorted({clip.language for clip in plan.clips if clip.talks} - heard):
        print(f"left out, unknown to {plan.config.asr.model}: {', '.join(missing)}", file=sys.stderr)


def _run_stock(plan: "Plan", store: Store, takes: list["Take"]) -> None:
    from voice.evaluation.stock import transcribe_all

    talk = [take for take in takes if take.clip.talks]
    with progress() as bars:
        task = bars.add_task("stock faster-whisper", total=len(talk))
        transcribe_all(store.folder(plan.config.asr.model), talk, plan.conditions, lambda: bars.advance(task))


def _installed() -> None:
    missing = [name.replace("_", "-") for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise Mistake(f"an evaluation needs {', '.join(missing)}; run: pip install {' '.join(missing)}")


def _about(manifest: Path, plan: "Plan") -> list[tuple[str, str]]:
    """What a page says of a run."""
    talk = sum(clip.talks for clip in plan.clips)
    clock = "the machine's" if plan.real_time else "virtual: as on an otherwise idle machine"
    return [
        ("manifest", str(manifest)),
        ("model", plan.config.asr.model),
        ("clips", f"{talk} with speech, {len(plan.clips) - talk} without"),
        ("callers", f"{plan.callers} at the same time"),
        ("clock", clock),
    ]


def _json(report: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report), indent=1)
