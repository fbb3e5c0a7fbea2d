"""Real SGLang servers to test against: one that runs already, or ones started here from a tool that installs them.

`REJOINDER_TEST_SGLANG_URL` names a server; `REJOINDER_TEST_SGLANG_TOOL` a folder with the scripts `install`, `serve`
and `convert.py`. `make test-sglang` sets the latter. Without either these tests skip.
"""

import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from tests.live import live as live
from tests.sglang.asking import engine
from tests.sglang.servers import MODES, PLAIN, RUNNING, URL, Installation, Process, Tell, stopped_at_the_end
from tests.taps import Awaited
from voice.engines.sglang import SglangLlm

TOOL = os.environ.get("REJOINDER_TEST_SGLANG_TOOL", "")
HERE = Path(__file__).resolve().parent.parent.parent / ".sglang"


class Unavailable(pytest.Module):
    """Tests that nothing can be tested with; one line says so for all of them."""

    def collect(self) -> NoReturn:
        pytest.skip("no SGLang: run make test-sglang, or set REJOINDER_TEST_SGLANG_URL", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Not even imported where there is neither a server nor a tool."""
    return None if URL or TOOL else Unavailable.from_parent(parent, path=module_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a test that failed: the end of its servers' output."""
    report = yield
    if report.failed:
        report.sections += [(f"end of {process.log}", process.tail()) for process in RUNNING]
    return report


@pytest.fixture(scope="session")
def tell(request: pytest.FixtureRequest) -> Tell:
    """Writes a line where the person who runs the tests sees it at once."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"[sglang] {text}", flush=True)

    return line


@pytest.fixture(scope="session")
def installation(tell: Tell, model_folder: Callable[[str], Path]) -> Installation:
    """SGLang with the weights of the embedded engine's default model, both installed at most once a checkout."""
    if URL:
        pytest.skip("the server of REJOINDER_TEST_SGLANG_URL is not to be started or killed")
    place = Installation(
        Path(TOOL).resolve(),
        Path(os.environ.get("REJOINDER_TEST_SGLANG_VENV") or HERE / "venv").resolve(),
        Path(os.environ.get("REJOINDER_TEST_SGLANG_MODEL") or HERE / "smollm2-135m").resolve(),
        HERE / "logs",
    )
    weights = model_folder("smollm2-135m") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    tell(f"installing what is missing in {place.venv} (3.3 GB, a minute or two the first time)")
    place.install(weights)
    return place


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest, installation: Installation, tell: Tell) -> Iterator[dict[str, Process]]:
    """A server for each way of decoding. Those asked for start side by side: a start is mostly one thread."""
    modes = {mode: installation.server(mode, mode) for mode in MODES}
    asked = {item.callspec.params.get("server") for item in request.session.items if hasattr(item, "callspec")}
    with stopped_at_the_end([*modes.values()]):
        for mode, process in modes.items():
            if mode in asked:
                tell(f"starting {mode}, which takes up to a minute; its output is in {process.log}")
                process.launch()
        yield modes


@pytest.fixture(scope="session", params=[PLAIN] if URL else list(MODES))
def server(request: pytest.FixtureRequest) -> str:
    """URL of a server, one for each way of decoding."""
    if request.param == "given":
        return URL
    servers: dict[str, Process] = request.getfixturevalue("servers")
    return servers[request.param].start().url


@pytest.fixture
def tap() -> Awaited:
    return Awaited()


@pytest.fixture
async def llm(server: str, tap: Awaited) -> AsyncIterator[SglangLlm]:
    """The engine under test."""
    async with engine(server, tap) as opened:
        yield opened


@pytest.fixture
async def http(server: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server, trust_env=False, timeout=60) as client:
        yield client
