"""The structure that docs and layout promise, read from the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("streams/**/*.py"), *ROOT.glob("voice/**/*.py")])

# From the outermost to the innermost; a module may import its own rank and those after it.
RANKS = (
    ("voice.__main__",),
    ("voice.cli",),
    ("voice.evaluation",),
    ("voice.console",),
    ("voice.app",),
    ("voice.guard",),
    ("voice.rest", "voice.pages", "voice.hosting"),
    ("voice.service", "voice.files", "voice.settings", "voice.captioning"),
    ("voice.calls",),
    ("voice.session",),
    ("voice.telling",),
    ("voice.answering",),
    ("voice.listening", "voice.replying", "voice.warming", "voice.echo_guard"),
    ("voice.terms", "voice.timeline", "voice.access", "voice.quota", "voice.logs", "voice.captions", "voice.rooms"),
    ("voice.subtitles",),
    ("voice.dialog", "voice.realtime"),
    ("voice.barging",),
    ("voice.replies", "voice.ledger"),
    ("voice.state",),
    ("voice.engines", "voice.models", "voice.tickets"),
    (
        "voice.chunker",
        "voice.agreement",
        "voice.vad",
        "voice.endpoint",
        "voice.interruption",
        "voice.editing",
        "voice.holding",
        "voice.language",
    ),
    ("voice.speakable", "voice.commands"),
    ("voice.history", "voice.advise"),
    ("voice.llm_models",),
    ("voice.config", "voice.events"),
    ("voice.__version__",),
    ("streams",),
)

FENCES = {
    "fastapi": ("voice.app", "voice.pages", "voice.rest"),
    "starlette": ("voice.app", "voice.guard", "voice.pages", "voice.rest", "streams.websocket"),
    "uvicorn": ("voice.app", "streams.websocket"),
    "ctranslate2": ("voice.engines",),
    "faster_whisper": ("voice.engines", "voice.evaluation.stock"),
    "tokenizers": ("voice.engines",),
    "onnxruntime": ("voice.engines",),
    "piper": ("voice.engines",),
    "xllamacpp": ("voice.engines",),
    "gguf": ("voice.engines",),
    "httpx": ("voice.engines", "voice.models"),
    "prometheus_client": ("streams.metrics",),
    "rich": ("voice.cli", "voice.console", "voice.evaluation", "voice.models", "voice.__main__"),
    "typer": ("voice.cli", "voice.console", "voice.evaluation.cli", "voice.__main__"),
    "aiortc": ("streams.tracks", "streams.webrtc"),
    "av": ("streams.opus",),
    "soundfile": ("streams.audio",),
    "soxr": ("streams.audio",),
}

PURE = (
    "voice.dialog", "voice.editing", "voice.endpoint", "voice.agreement", "voice.chunker", "voice.speakable",
    "voice.interruption", "voice.vad", "voice.language", "voice.history", "voice.timeline", "voice.terms",
    "voice.commands", "voice.realtime", "voice.state", "voice.barging", "voice.replies", "voice.ledger",
    "voice.engines.breaker", "voice.engines.prefixes", "voice.engines.roster",
    "voice.advise", "voice.llm_models",
)  # fmt: skip
IMPURE = {"anyio", "asyncio", "time", "random", "socket", "os", "threading", "logging", "pathlib", "datetime"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def rank(module: str) -> int:
    if module == "voice":
        module = "voice.__version__"
    fitting = [n for n, places in enumerate(RANKS) if within(module, places)]
    assert fitting, f"{module} has no rank; say in RANKS where it belongs"
    return fitting[0]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_inwards(path: Path) -> None:
    module = name_of(path)
    wrong = [other for other in imports(path) if within(other, ("voice", "streams")) and rank(other) < rank(module)]
    assert not wrong, f"{module} imports {wrong}, which lie further out"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_third_parties_stay_behind_their_fences(path: Path) -> None:
    module = name_of(path)
    wrong = [
        other
        for other in imports(path)
        for package, places in FENCES.items()
        if within(other, (package,)) and not within(module, places)
    ]
    assert not wrong, f"{module} imports {wrong}; only {FENCES} may"


@pytest.mark.parametrize("path", [path for path in SOURCES if within(name_of(path), PURE)], ids=name_of)
def test_policies_are_pure(path: Path) -> None:
    wrong = {other.split(".")[0] for other in imports(path)} & IMPURE
    assert not wrong, f"{name_of(path)} is policy, and imports {wrong}"
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Await)]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_there_is_no_unbounded_queue_and_no_stray_task(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        bounded = bool(node.args or node.keywords)
        assert bounded or not called.endswith(("asyncio.Queue", "queue.Queue")), (
            f"{path}:{node.lineno}: unbounded queue"
        )
        assert called != "create_memory_object_stream" or bounded
        assert not called.endswith(("create_task", "ensure_future", "asyncio.shield")), (
            f"{path}:{node.lineno}: {called} outlives its scope"
        )


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_stay_readable(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 420, f"{path} has {len(lines)} lines: what does it hide?"
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 65, f"{path}:{node.lineno}: {node.name} is too long"
