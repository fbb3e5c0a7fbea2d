"""The command line: what it prints, and mistakes that end in one line and status 2."""

import json
import os
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from whisper_normalizer.english import EnglishTextNormalizer

from streams.audio import read
from voice.advise import Gpu, advise
from voice.cli import main
from voice.config import Config, VadConfig
from voice.events import Word
from voice.files import FRAME, LONGEST, RATE, passages
from voice.llm_models import MODELS
from voice.models import needed
from voice.subtitles import CUE_SECONDS, cues, render

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rejoinder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs the command line in an empty folder and environment; gives status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("REJOINDER_") and name != "REJOINDER__MODELS__DIR"]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rejoinder", *arguments])
        status = main()
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command"),
        (["sevre"], "No such command 'sevre'"),
        (["serve", "--prot", "1"], "No such option: --prot"),
        (["config", "--set", "vad.treshold=1"], 'did you mean "vad.threshold"?'),
        (["config", "--config", "nix.toml"], "nix.toml: cannot read"),
        (["serve", "--host", "0.0.0.0"], "auth.keys is empty"),
        (["serve", "--port", "70000"], "server.port = 70000"),
        (["serve", "--set", "asr.model=whisper-bas"], "did you mean whisper-base?"),
        (["models", "fetch", "smollm2"], "did you mean smollm2-135m?"),
        (["models", "fetch", "smollm2-135m", "--set", "models.dir=nix", "--set", "models.offline=true"], "is missing"),
        (["models", "verify", "smollm2-135m", "--set", "models.dir=nix"], "rejoinder models fetch smollm2-135m"),
        (["transcribe", "nix.wav"], "nix.wav: no such file"),
        (["transcribe", "a.wav", "b.wav", "--format", "srt"], "give a folder"),
        (["sglang", "advise", "--memory", "16", "--model", "qwen3-32b"], "does not fit 16 GiB: its weights"),
        (["sglang", "advise", "--memory", "16", "--model", "nix"], "nix: not known; choose one of"),
        (["say", "Hello.", "-o", "hello.mp4"], "hello.mp4: name a file that ends in .wav, .flac, .ogg"),
    ],
)
def test_mistakes_are_one_line_and_status_2(rejoinder: Command, arguments: list[str], message: str) -> None:
    status, _, stderr = rejoinder(*arguments)
    assert status == 2
    assert stderr.startswith("rejoinder: ")
    assert stderr.count("\n") == 1
    assert message in stderr


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "voice", "models", "fetch", "nix"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith('rejoinder: unknown model "nix"')


def test_version(rejoinder: Command) -> None:
    assert rejoinder("--version") == (0, f"rejoinder {version('rejoinder')}\n", "")


def test_config_shows_origins(rejoinder: Command) -> None:
    status, stdout, _ = rejoinder("config", "--set", "server.port=9")
    assert status == 0
    assert "port = 9  # --set" in stdout


def test_models_list_shows_all(rejoinder: Command) -> None:
    status, stdout, _ = rejoinder("models", "list", "--set", "models.dir=nix", "--set", "models.paths.mine=nix")
    assert status == 0
    assert "whisper-tiny.en" in stdout
    assert "absent, needed" in stdout
    assert "your own files in nix" in stdout


def test_advice_is_a_line_to_copy_and_why(rejoinder: Command) -> None:
    status, stdout, _ = rejoinder("sglang", "advise", "--memory", "24", "--model", "Qwen/Qwen3-8B", "--sessions", "8")
    assert status == 0
    [line] = [line for line in stdout.splitlines() if line.startswith("sglang serve ")]
    assert shlex.split(line)[2:] == advise(MODELS["qwen3-8b"], Gpu(24), 8).arguments()
    assert "8 of 8 wanted" in stdout
    assert tomllib.loads(stdout[stdout.index("[llm]") :])["llm"]["url"] == "http://127.0.0.1:30000"


def test_advice_for_a_folder_or_a_size(rejoinder: Command, tmp_path: Path) -> None:
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    more = {"num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(shape | more))
    status, stdout, _ = rejoinder("sglang", "advise", "--memory", "8", "--model", str(tmp_path))
    assert status == 0
    assert "0.1 billion parameters, 30 layers, 3 KV heads of 64" in stdout
    assert f"--model-path {tmp_path}" in stdout
    (tmp_path / "config.json").write_text("{}")
    assert rejoinder("sglang", "advise", "--memory", "8", "--model", str(tmp_path))[0] == 2
    status, stdout, _ = rejoinder("sglang", "advise", "--memory", "24", "--model", "mine", "--parameters", "3")
    assert status == 0
    assert "assumed" in stdout


def test_start_is_light() -> None:
    """Heavy packages are loaded by the commands that use them."""
    heavy = ("numpy", "fastapi", "ctranslate2", "onnxruntime")
    code = f"import sys, voice.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_taken_port(rejoinder: Command, model_folder: Callable[[str], Path]) -> None:
    for name in needed(Config()):
        model_folder(name)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, _, stderr = rejoinder("serve", "--port", str(port))
    assert status == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in stderr


def test_transcribe(rejoinder: Command, speech_dir: Path, model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    model_folder("whisper-tiny.en")
    lines = map(json.loads, (speech_dir / "manifest.jsonl").read_text().splitlines())
    clip = next(line for line in lines if line["kind"] == "longform" and line["language"] == "en")
    file = str(speech_dir / clip["file"])
    status, stdout, _ = rejoinder("transcribe", file)
    normal = EnglishTextNormalizer()
    assert status == 0
    assert jiwer.wer(normal(clip["transcript"]), normal(stdout)) < 0.2
    assert rejoinder("transcribe", file, "--format", "json", "-o", "out.json")[0] == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["duration"] == pytest.approx(clip["seconds"], abs=0.01)
    starts = [word["start"] for word in found["words"]]
    assert starts == sorted(starts)
    assert starts[-1] > 0.8 * clip["seconds"]


def test_unreadable_sound(rejoinder: Command, model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    model_folder("whisper-tiny.en")
    (tmp_path / "text.wav").write_text("no sound")
    status, _, stderr = rejoinder("transcribe", "text.wav")
    assert status == 2
    assert "text.wav: not readable as audio" in stderr


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_say(rejoinder: Command, model_folder: Callable[[str], Path], tmp_path: Path, ending: str) -> None:
    model_folder("en_US-joe-medium")
    assert rejoinder("say", "One, two, three, four. That is all.", "-o", f"hello.{ending}")[0] == 0
    audio = read(tmp_path / f"hello.{ending}")
    assert 1.5 < audio.seconds < 6
    assert abs(audio.samples).max() > 1000


def test_nothing_to_say(rejoinder: Command, model_folder: Callable[[str], Path]) -> None:
    model_folder("en_US-joe-medium")
    status, _, stderr = rejoinder("say", "...", "-o", "hello.wav")
    assert (status, stderr.count("\n")) == (2, 1)


@given(st.lists(st.floats(0, 1), max_size=3000))
def test_passages_hold_all_speech_in_order(probabilities: list[float]) -> None:
    found = passages(probabilities, VadConfig())
    edges = [edge for passage in found for edge in passage]
    assert edges == sorted(edges)
    assert all(0 <= first < last <= len(probabilities) for first, last in found)
    assert all((last - first) * FRAME <= LONGEST * RATE for first, last in found)
    kept = {frame for first, last in found for frame in range(first, last)}
    assert {frame for frame, value in enumerate(probabilities) if value >= 0.5} <= kept


def test_passages_leave_silence_out_and_join_over_short_pauses() -> None:
    speech, pause, silence = [0.9] * 62, [0.1] * 31, [0.1] * 310
    found = passages(silence + speech + pause + speech + silence + speech + silence, VadConfig())
    assert len(found) == 2
    assert sum(last - first for first, last in found) < 62 * 3 + 31 + 4 * 12


words = st.lists(
    st.builds(
        lambda text, gap, length: (text, gap, length),
        st.from_regex(r"[A-Za-z<&]{1,12}[.,?]?", fullmatch=True),
        st.floats(0, 3),
        st.floats(0.01, 1),
    ),
    max_size=60,
)


@given(words)
def test_cues_keep_every_word_in_time(parts: list[tuple[str, float, float]]) -> None:
    now, said = 0.0, []
    for text, gap, length in parts:
        said.append(Word(text, now + gap, now + gap + length))
        now = said[-1].end
    made = cues(said)
    assert " ".join(cue.text for cue in made) == " ".join(word.text for word in said)
    assert all(cue.end - cue.start <= CUE_SECONDS for cue in made)
    assert all(first.end <= second.start for first, second in pairwise(made))


def test_formats() -> None:
    said = [Word("Fish", 1.0, 1.5), Word("<&", 1.5, 2.0), Word("chips.", 2.0, 3661.25), Word("Yes.", 3662.0, 3663.0)]
    assert render(said, "txt", language="en", seconds=4000) == "Fish <& chips. Yes.\n"
    assert render(said[3:], "srt", language="en", seconds=4000) == "1\n01:01:02,000 --> 01:01:03,000\nYes.\n"
    assert (
        render(said[:2], "vtt", language="en", seconds=4) == "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nFish &lt;&amp;\n"
    )
    assert render([], "vtt", language="en", seconds=4) == "WEBVTT\n"
    assert render([], "srt", language="en", seconds=4) == ""
    found = json.loads(render(said, "json", language="en", seconds=4000))
    assert (found["text"], found["language"], len(found["words"])) == ("Fish <& chips. Yes.", "en", 4)
