"""Real SGLang servers and routers on this machine: each a process group whose output goes into a file."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import randrange
from threading import Event, Thread

import httpx

NGRAM = "--speculative-algorithm NGRAM --speculative-num-draft-tokens 4"
STANDALONE = (
    "--speculative-algorithm STANDALONE --speculative-draft-model-path {model} --speculative-num-steps 1 "
    "--speculative-eagle-topk 1 --speculative-num-draft-tokens 2 --speculative-draft-attention-backend intel_amx"
)
MODES = {"plain": "", "ngram": NGRAM, "standalone": STANDALONE}
"""Flags of the ways a server decodes. The draft model of "standalone" is the model itself; it drafts one token, which
takes as long as a step."""
URL = os.environ.get("REJOINDER_TEST_SGLANG_URL", "")
PLAIN = "given" if URL else "plain"
"""Where one way of decoding is enough."""
ALWAYS = (
    "--enable-priority-scheduling --default-priority-value 50 "
    "--constrained-json-disable-any-whitespace"  # else greedy answers may be spaces to the end
)
EAGER = {"TORCHDYNAMO_DISABLE": "1"}
"""Nothing is compiled: where no earlier start has left it, that takes longer than it wins."""
ROUTER = "sglang-router==0.3.2"

Tell = Callable[[str], None]
"""Writes a line where the person who runs the tests sees it."""

INSTALL_SECONDS = 900
START_SECONDS = 180


class Failed(Exception):
    """Something here did not work; the message says what, and shows the end of its output."""


@dataclass(frozen=True)
class Installation:
    """SGLang for a CPU.

    Attributes:
        tool: folder with the scripts `install`, `serve` and `convert.py`.
        venv, model: where they put the packages and the weights.
        logs: where the servers' output goes.
    """

    tool: Path
    venv: Path
    model: Path
    logs: Path

    @property
    def python(self) -> Path:
        """The interpreter that has SGLang."""
        return self.venv / "bin" / "python"

    def install(self, weights: Path) -> None:
        """Install what is missing: SGLang, then its router and beside it the model, made of a GGUF file's weights."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self._call("install", [self.tool / "install", self.venv])
        with ThreadPoolExecutor() as threads:
            for job in [threads.submit(self._install_router), threads.submit(self._convert, weights)]:
                job.result()

    def _install_router(self) -> None:
        if not list(self.venv.glob("lib/python*/site-packages/sglang_router")):
            pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            self._call("install-router", [*pip, "-c", self.venv / "constraints.txt", ROUTER])

    def _convert(self, weights: Path) -> None:
        if (self.model / "model.safetensors").is_file():
            return
        fresh = self.model.with_name(self.model.name + ".partial")
        shutil.rmtree(fresh, ignore_errors=True)
        self._call("convert", [self.python, self.tool / "convert.py", weights, fresh])
        fresh.rename(self.model)

    def _call(self, name: str, command: Sequence[object]) -> None:
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            done = subprocess.run(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        if done.returncode:
            raise Failed(f"{name} ended with status {done.returncode}:\n{_tail(log)}")

    def server(self, name: str, mode: str = "plain") -> "Process":
        """A server, not yet started, on a port of its own; `name` is its log's."""
        port = free_port()
        flags = f"{ALWAYS} {MODES[mode].format(model=self.model)}".split()
        command = [str(self.tool / "serve"), str(self.venv), str(self.model), str(port), *flags]
        return Process(name, command, port, "Uvicorn running on", self.logs / f"{name}.log")

    def router(self, *workers: str) -> "Process":
        """A cache-aware router in front of the servers at these URLs."""
        port, metrics = free_port(), free_port()
        flags = f"--host 127.0.0.1 --port {port} --prometheus-port {metrics} --policy cache_aware --worker-urls".split()
        command = [str(self.python), "-m", "sglang_router.launch_router", *flags, *workers]
        return Process("router", command, port, "Workflow completed", self.logs / "router.log", len(workers))


@dataclass
class Process:
    """A server process with all its children.

    Attributes:
        ready: what it has printed so many `times` when it serves.
    """

    name: str
    command: list[str]
    port: int
    ready: str
    log: Path
    times: int = 1
    _child: "subprocess.Popen[bytes] | None" = None
    _said: Event = field(default_factory=Event)
    _reader: Thread | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start it, the first time or again; `start` waits for it."""
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._child = subprocess.Popen(
            [*dies_with_us, *self.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | EAGER,
        )
        self._said = Event()
        self._reader = Thread(target=self._read, args=(self._child, self._said), daemon=True)
        self._reader.start()

    def start(self) -> "Process":
        """Wait until it serves, launched now if it was not.

        Raises:
            Failed: it ended, or took too long.
        """
        if self._child is None:
            self.launch()
        assert self._child is not None
        if not self._said.wait(START_SECONDS) or self._child.poll() is not None:
            self.stop()
            raise Failed(f"{self.name} did not start:\n{self.tail()}")
        self._warm()
        return self

    def _warm(self) -> None:
        """Have it answer once: what it compiles for its first answer takes up to half a minute."""
        body = {"model": "", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12}
        url = f"{self.url}/v1/chat/completions"
        httpx.post(url, json=body, timeout=START_SECONDS, trust_env=False).raise_for_status()

    def _read(self, child: "subprocess.Popen[bytes]", said: Event) -> None:
        assert child.stdout is not None
        missing = self.times
        with self.log.open("ab", buffering=0) as log, child.stdout:
            for line in child.stdout:
                log.write(line)
                missing -= self.ready.encode() in line
                if not missing:
                    said.set()
        child.wait()
        said.set()

    def stop(self) -> None:
        """Kill it and its children, as a machine that loses its power does; returns when they are gone."""
        if self._child is None or self._reader is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._reader.join()
        self._child = self._reader = None

    def tail(self) -> str:
        """The end of its output."""
        return _tail(self.log)


RUNNING: list[Process] = []
"""What a test that fails shows the output of."""


@contextmanager
def stopped_at_the_end(processes: Sequence[Process]) -> Iterator[None]:
    """Whichever of these servers is started meanwhile; each leaves a log of its own."""
    for process in processes:
        process.log.unlink(missing_ok=True)
    RUNNING.extend(processes)
    try:
        yield
    finally:
        for process in processes:
            RUNNING.remove(process)
            process.stop()


def _tail(log: Path) -> str:
    if not log.is_file():
        return ""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if '"GET /' not in line][-30:])


def free_port() -> int:
    """A port nobody listens on, below those that outgoing connections take while a server still loads."""
    while True:
        port = randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
