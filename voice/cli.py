"""The command line: `rejoinder`."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from rich.filesize import decimal
from rich.table import Table

from voice.advise import CONTEXT, LARGEST, MOST_GPUS, SHORTEST_CONTEXT, Advice, DoesNotFit, Gpu, advise
from voice.config import Config, LimitsConfig
from voice.console import ConfigOption, Mistake, SetOption, fetch, load_config, progress, wide_console, written
from voice.evaluation.cli import evaluation
from voice.llm_models import BILLION, MODELS, Model, guessed, shape_of
from voice.models import REGISTRY, ModelError, Store, needed
from voice.settings import ConfigError, check, render
from voice.subtitles import Format
from voice.subtitles import render as render_words

if TYPE_CHECKING:
    from streams.audio import Audio

SOUND_FILES = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="Self-hosted, real-time speech server.")
models = typer.Typer(help="Model files: what is needed, fetch it, check it.")
app.add_typer(models, name="models")
app.add_typer(evaluation, name="eval")
sglang = typer.Typer(help="An SGLang server for the language model.")
app.add_typer(sglang, name="sglang")


@sglang.callback()
def _sglang() -> None: ...


NamesArgument = Annotated[list[str] | None, typer.Argument(help="Names as in `models list`; those needed if none.")]


def main() -> int:
    """Run the command line; returns the exit status. A user's mistake is one line on stderr and status 2."""
    try:
        status = app(prog_name="rejoinder", standalone_mode=False)
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        return _complain(f"{getattr(error, 'format_message', error.__str__)()} (see: rejoinder --help)")
    except (ConfigError, ModelError, Mistake) as error:
        return _complain(str(error))
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def _complain(message: str) -> int:
    print(f"rejoinder: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"rejoinder {version('rejoinder')}")
        raise typer.Exit


@app.callback()
def _root(
    show: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (server.host).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (server.port).")] = None,
    file: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Fetch the models that are missing, and answer calls."""
    shortcuts = {"server.host": host, "server.port": port}
    given = [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
    config, _ = load_config(file, [*(sets or []), *given])
    check(config)
    fetch(Store(config.models), needed(config))
    from voice.app import serve as run
    from voice.engines import EngineError

    try:
        run(config)
    except EngineError as error:
        raise Mistake(str(error)) from error
    except OSError as error:
        where = f"{config.server.host} port {config.server.port}"
        raise Mistake(f"cannot listen on {where}: {error.strerror}; choose another --host or --port") from error


@app.command("config")
def show_config(file: ConfigOption = None, sets: SetOption = None) -> None:
    """Print the effective configuration as TOML, with where each value came from."""
    print(render(*load_config(file, sets)), end="")


@models.command("list")
def list_models(file: ConfigOption = None, sets: SetOption = None) -> None:
    """Show all models: licence, size, and whether they are here and needed."""
    config, _ = load_config(file, sets)
    store, wanted = Store(config.models), needed(config)
    table = Table("name", "kind", "size", "state", "licence", "what to expect", box=None, pad_edge=False)
    for entry in REGISTRY.values():
        state = "here" if store.present(entry.name) else "absent"
        state += ", needed" if entry.name in wanted else ""
        where = config.models.paths.get(entry.name)
        about = f"your own files in {where}" if where else entry.about
        table.add_row(entry.name, entry.kind, decimal(entry.size), state, entry.licence, about)
    for name in config.models.paths.keys() - REGISTRY.keys():
        state = "here" if store.present(name) else "absent"
        table.add_row(name, "own", "", state, "", f"your own files in {config.models.paths[name]}")
    console = wide_console()
    console.print(table)
    console.print(f"folder: {store.root}", markup=False, highlight=False, soft_wrap=True)


@models.command("fetch")
def fetch_models(names: NamesArgument = None, file: ConfigOption = None, sets: SetOption = None) -> None:
    """Fetch and check models; those already here cost nothing."""
    config, _ = load_config(file, sets)
    fetch(Store(config.models), names or needed(config))


@models.command("verify")
def verify_models(names: NamesArgument = None, file: ConfigOption = None, sets: SetOption = None) -> None:
    """Hash every file of the models again."""
    config, _ = load_config(file, sets)
    store = Store(config.models)
    damaged = []
    for name in names or needed(config):
        if name in config.models.paths:
            print(f"{name}: your own files in {store.folder(name)}, not checked")
        elif problems := store.problems(name, thorough=True):
            damaged.append(name)
            print(f"{name}: {'; '.join(problems)}")
        else:
            print(f"{name}: right")
    if damaged:
        raise Mistake(f"missing or damaged: {', '.join(damaged)}; run: rejoinder models fetch {' '.join(damaged)}")


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="WAV, FLAC, Ogg, Opus or MP3.")],
    kind: Annotated[Format, typer.Option("--format", help="What to write.")] = "txt",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; with several FILEs, a folder.")
    ] = None,
    file: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Turn recordings into text or subtitles."""
    if len(files) > 1 and kind != "txt" and output is None:
        raise Mistake(f"several files as {kind}: give a folder to write them to with -o")
    if missing := [str(path) for path in files if not path.is_file()]:
        raise Mistake(f"{', '.join(missing)}: no such file; give a sound file")
    if len(files) > 1 and output is not None:
        if len({path.stem for path in files}) < len(files):
            raise Mistake("several of the files differ only in folder or ending; transcribe them one by one")
        written(output, partial(Path.mkdir, parents=True, exist_ok=True))
    config, _ = load_config(file, sets)
    store = Store(config.models)
    fetch(store, [name for name in needed(config) if name == config.asr.model])
    _run(lambda: _transcribe_all(files, kind, output, config, store))


async def _transcribe_all(files: list[Path], kind: Format, output: Path | None, config: Config, store: Store) -> None:
    from streams.lane import Lane
    from voice.files import transcribe
    from voice.service import open_engine

    async with (
        Lane("asr", config.asr.lanes, waiting=1) as lane,
        open_engine("vad", config, store, lane) as vad,
        open_engine("asr", config, store, lane) as asr,
    ):
        with progress() as bars:
            for path in files:
                audio = _sound(path)
                task = bars.add_task(path.name, total=audio.seconds)
                words, language = await transcribe(audio, vad, asr, config, advance=partial(bars.advance, task))
                text = render_words(words, kind, language=language, seconds=audio.seconds)
                if output is None:
                    print(f"{path}: {text}" if len(files) > 1 else text, end="")
                else:
                    target = output / f"{path.stem}.{kind}" if len(files) > 1 else output
                    written(target, partial(Path.write_text, data=text, encoding="utf-8"))


@app.command()
def caption(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help='A sound file; "-": standard input, WAV or PCM16.')],
    room: Annotated[str, typer.Option(help="Feed this room of a server, instead of writing WebVTT.")] = "",
    url: Annotated[str, typer.Option(help="The server, with --room.")] = "http://127.0.0.1:8800",
    key: Annotated[str, typer.Option(envvar="REJOINDER_KEY", show_default=False, help="Its key.")] = "",
    rate: Annotated[int, typer.Option(help="Of standard input without a WAV header.", min=4000, max=384000)] = 16_000,
    file: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Caption speech while it comes: WebVTT on standard output, or a room that many read."""
    if source != "-" and not Path(source).is_file():
        raise Mistake(f"{source}: no such file; give a sound file, or - for standard input")
    config, _ = load_config(file, sets)
    store = Store(config.models)
    if not room:
        fetch(store, [name for name in needed(config) if name == config.asr.model])
    from voice.captioning import BadSound, NotFed

    wrong: list[BaseException] = []
    try:
        _run(lambda: _feed(source, room, url, key, rate) if room else _caption(source, rate, config, store))
    except* (NotFed, BadSound, BrokenPipeError) as errors:
        wrong += _leaves(errors)
    if wrong:
        raise wrong[0] if isinstance(wrong[0], BrokenPipeError) else Mistake(str(wrong[0]))


async def _feed(source: str, room: str, url: str, key: str, rate: int) -> None:
    from voice.captioning import SERVER_RATE, feed, sound

    await feed(sound(source, SERVER_RATE, rate, paced=True), url, room, key)


async def _caption(source: str, rate: int, config: Config, store: Store) -> None:
    from math import inf

    from streams.lane import Lane
    from voice.captioning import Captioning, sound
    from voice.captions import Room, write_vtt
    from voice.listening import RATE
    from voice.service import open_engine

    async def show(data: bytes) -> None:
        print(data.decode(), end="", flush=True)

    room = Room("captions", config.captions, anyio.current_time())
    room.begin()
    async with (
        Lane("asr", config.asr.lanes, waiting=8) as lane,
        open_engine("vad", config, store, lane) as vad,
        open_engine("asr", config, store, lane) as asr,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(write_vtt, room, "", show, inf)
        await Captioning(room, vad, asr, config).run(sound(source, RATE, rate, paced=False))
        room.close(anyio.current_time())


@app.command()
def say(
    text: Annotated[str, typer.Argument(help='What to speak; "-" reads it from standard input.')],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .wav, .flac or .ogg.")],
    rate: Annotated[int | None, typer.Option(help="Samples a second; the voice's own if not given.", min=8000)] = None,
    file: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Speak a text into a sound file."""
    if output.suffix.lower() not in SOUND_FILES:
        raise Mistake(f"{output}: name a file that ends in {', '.join(SOUND_FILES)}")
    config, _ = load_config(file, sets)
    store = Store(config.models)
    fetch(store, [name for name in needed(config) if name == config.tts.voice])
    spoken = sys.stdin.read() if text == "-" else text
    _run(lambda: _say(spoken, output, rate, config, store))


async def _say(text: str, output: Path, rate: int | None, config: Config, store: Store) -> None:
    from streams.audio import resample, write
    from streams.lane import Lane
    from voice.files import say
    from voice.service import open_engine

    async with Lane("tts", config.tts.lanes, waiting=1) as lane, open_engine("tts", config, store, lane) as tts:
        with progress() as bars:
            task = bars.add_task("speaking", total=len(text))
            audio = await say(text, tts, config, advance=partial(bars.advance, task))
    sound = resample(audio, rate or audio.rate)
    written(output, lambda place: write(place, sound, SOUND_FILES[output.suffix.lower()]))


@sglang.command("advise")
def advise_sglang(
    memory: Annotated[float, typer.Option(help="GiB of one GPU.", min=1, max=LARGEST)],
    model: Annotated[str, typer.Option(help=f"{', '.join(MODELS)}; a folder with config.json; or any name.")],
    gpus: Annotated[int, typer.Option(help="GPUs of that size.", min=1, max=MOST_GPUS)] = 1,
    sessions: Annotated[int, typer.Option(help="Calls at the same time.", min=1)] = LimitsConfig().sessions,
    context: Annotated[int, typer.Option(help="Tokens of a call.", min=SHORTEST_CONTEXT)] = CONTEXT,
    parameters: Annotated[float, typer.Option(help="Billions, of a model that is not known.", min=0)] = 0.0,
    fp8: Annotated[bool, typer.Option(help="The GPU computes with 8 bits: L4, RTX 40, H100 and newer do.")] = True,
) -> None:
    """Print how to launch SGLang so that so many calls fit, and why."""
    try:
        advice = advise(_model(model, parameters * BILLION), Gpu(memory, gpus, fp8), sessions, context)
    except DoesNotFit as error:
        raise Mistake(str(error)) from error
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, figure in advice.reasons():
        table.add_row(name, figure)
    console = wide_console()
    console.print(table, highlight=False)
    if advice.remedies:
        console.print(f"for all {sessions}: {'; or '.join(advice.remedies)}", markup=False, highlight=False)
    _print_launch(advice)


def _print_launch(advice: Advice) -> None:
    """What to copy: the launch lines, and the settings that go with them."""
    workers = range(advice.plan.workers)
    for worker in workers:
        print(f"\nsglang serve {shlex.join(advice.arguments(worker))}")
    urls = [f"http://127.0.0.1:{30000 + worker}" for worker in workers]
    settings = {"engine": "sglang", "model": advice.plan.model.path, "url": urls[0], "workers": urls[1:]}
    print("\n[llm]")
    for key, value in settings.items():
        if value:
            print(f"{key} = {json.dumps(value)}")


def _model(name: str, parameters: float) -> Model:
    """A model of the table, of a folder with its config.json, or of the size given."""
    known = MODELS.get(name.lower()) or next((each for each in MODELS.values() if name in (each.path, each.fp8)), None)
    if known:
        return known
    file = Path(name) / "config.json" if Path(name).is_dir() else Path(name)
    try:
        if file.is_file():
            return Model(str(file.parent), shape_of(json.loads(file.read_bytes()), parameters))
    except (OSError, ValueError, AttributeError) as error:
        if not parameters:
            raise Mistake(f"{file}: does not tell the model's shape ({error}); give --parameters") from error
    if not parameters:
        names = ", ".join(MODELS)
        raise Mistake(f"{name}: not known; choose one of {names}, a folder with config.json, or give --parameters")
    return Model(name, guessed(parameters))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors in a group of groups."""
    nested = [_leaves(each) if isinstance(each, BaseExceptionGroup) else [each] for each in group.exceptions]
    return [error for errors in nested for error in errors]


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run work on the engines; what they complain about is for the user to read."""
    from voice.engines import EngineError

    try:
        anyio.run(work)
    except EngineError as error:
        raise Mistake(str(error)) from error


def _sound(path: Path) -> "Audio":
    from streams.audio import read

    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise Mistake(str(error)) from error
