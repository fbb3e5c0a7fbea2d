"""Launch files and advised launch lines are such as SGLang reads."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from voice.advise import Gpu, advise
from voice.llm_models import MODELS

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "configs" / "sglang").glob("*.yaml"))
ALGORITHMS = {"EAGLE3", "NEXTN", "STANDALONE", "NGRAM"}
CARDS = (Gpu(80), Gpu(80, 2), Gpu(48, 4, fp8=False), Gpu(192, 8))

Parse = Callable[[list[list[str]]], list[dict[str, object]]]


@pytest.fixture(scope="module")
def parse() -> Parse:
    """SGLang's own reading of command lines."""
    venv = Path(os.environ.get("REJOINDER_TEST_SGLANG_VENV") or ROOT / ".sglang" / "venv")
    if not (python := venv / "bin" / "python").is_file():
        pytest.skip(
            f"SGLang is not in {venv}: run make test-sglang, or name its environment in REJOINDER_TEST_SGLANG_VENV"
        )

    def read(lines: list[list[str]]) -> list[dict[str, object]]:
        reader = [str(python), "-P", str(ROOT / "tests" / "sglang_arguments.py")]
        given = "".join(f"{json.dumps(line)}\n" for line in lines)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(reader, input=given, capture_output=True, text=True, check=True, env=environment)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    return read


def settings(file: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(file.read_text())
    return found


def test_there_is_a_file_for_each_way_to_speculate() -> None:
    assert {settings(file)["speculative-algorithm"] for file in FILES} == ALGORITHMS
    assert {settings(file)["model-path"] for file in FILES if settings(file)["speculative-algorithm"] == "EAGLE3"} == {
        "meta-llama/Llama-3.1-8B-Instruct",
        "Qwen/Qwen3-8B",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_launch_file_is_fit_for_calls(file: Path) -> None:
    found = settings(file)
    assert found["enable-priority-scheduling"] is True
    assert found["enable-metrics"] is True
    assert found["tool-call-parser"]
    assert found["constrained-json-disable-any-whitespace"] is True
    assert found["host"] == "127.0.0.1"
    assert str(found["context-length"]).isdigit()
    three = [found.get(f"speculative-{name}") for name in ("num-steps", "eagle-topk", "num-draft-tokens")]
    assert all(three) or not any(three), "SGLang wants all three or none"
    if three[1] == 1:
        assert three[2] == found["speculative-num-steps"] + 1  # type: ignore[operator]
    assert f"--config configs/sglang/{file.name}" in file.read_text()


def test_sglang_reads_every_launch_file(parse: Parse) -> None:
    for file, found in zip(FILES, parse([["--config", str(file)] for file in FILES]), strict=True):
        wanted = settings(file)
        assert "error" not in found, f"{file.name}: {found['error']}"
        for name in (
            "model-path",
            "context-length",
            "speculative-algorithm",
            "tool-call-parser",
            "constrained-json-disable-any-whitespace",
            "max-running-requests",
        ):
            assert found[name.replace("-", "_")] == wanted[name]


def test_sglang_reads_every_advised_line(parse: Parse) -> None:
    advised = [advise(model, gpu, calls) for model in MODELS.values() for gpu in CARDS for calls in (1, 100)]
    for advice, found in zip(advised, parse([advice.arguments() for advice in advised]), strict=True):
        assert "error" not in found, f"{advice.arguments()}: {found['error']}"
        assert found["tp_size"] == advice.plan.parallel
        assert found["speculative_algorithm"] == (advice.plan.draft.algorithm if advice.plan.draft else None)
        assert found["max_running_requests"] == advice.running
        assert found["constrained_json_disable_any_whitespace"] is True
