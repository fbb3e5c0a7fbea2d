"""`rejoinder eval` from the command line, with real models, on the clips of tests/data."""

import json
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from voice.cli import main
from voice.config import Config

MANIFEST = Path(__file__).resolve().parent.parent / "data" / "manifest.jsonl"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rejoinder(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs the command line; gives status, stdout, stderr."""
    for name in (Config().asr.model, Config().endpoint.model):
        model_folder(name)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rejoinder", "eval", *arguments])
        status = main()
        return status, *capsys.readouterr()

    return run


class Page(HTMLParser):
    """What a page loads, and what it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.loaded += [given[name] or "" for name in ("src", "href", "xlink:href") if name in given]
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "svg":
            self.pictures.append(given.get("aria-label") or "")


def check_page(path: Path, pictures: int) -> None:
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert all(place.startswith("#") for place in page.loaded), "nothing comes from elsewhere"
    assert "@import" not in text
    assert "url(http" not in text
    assert len(page.ids) == len(set(page.ids))
    assert len(page.pictures) == pictures
    assert all(page.pictures), "each picture says what it shows"
    assert page.tags.count("h1") == page.tags.count("title") == 1
    assert page.tags.count("table") == page.tags.count("caption")


def test_recognition(rejoinder: Command, tmp_path: Path) -> None:
    status, stdout, stderr = rejoinder(
        "asr", str(MANIFEST), "--most", "2", "--condition", "clean", "--condition", "telephone", "--stock",
        "--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html"),
    )  # fmt: skip
    assert (status, stderr) == (0, "")
    assert "word error rate" in stdout
    report = json.loads((tmp_path / "a.json").read_bytes())
    clean, telephone = report["figures"]
    assert (clean["condition"], telephone["condition"]) == ("clean", "telephone")
    assert clean["words"]["rate"] < 0.2
    assert clean["stock"]["rate"] < 0.2
    assert clean["committed_words_changed"] == 0
    assert clean["first_partial"]["count"] == clean["finalization"]["count"] == 2
    assert clean["engine"]["all"] > clean["engine"]["speculative"] > 0
    assert clean["engine"]["vad"] > 0
    assert clean["stock_seconds"] > 0
    assert clean["quiet"]["noise"]["words"] == 0
    assert telephone["quiet"] == {}
    assert len(report["clips"]) == 6
    check_page(tmp_path / "a.html", 2)


def test_turn_ends(rejoinder: Command, tmp_path: Path) -> None:
    status, _, stderr = rejoinder(
        "turns", str(MANIFEST), "--most", "2", "--json", str(tmp_path / "t.json"), "--html", str(tmp_path / "t.html")
    )
    assert (status, stderr) == (0, "")
    settings = {one["name"]: one["whole"] for one in json.loads((tmp_path / "t.json").read_bytes())["settings"]}
    assert "as configured" in settings
    assert all(one["never"] == 0 for one in settings.values())
    for seconds in (0.4, 0.6, 1.2):
        delay = settings[f"{seconds:g} s of silence"]["delay"]["p50"]
        assert delay == pytest.approx(seconds, abs=0.1), "virtual time: silence is all that is waited for"
    cut = [settings[f"{seconds:g} s of silence"]["cut"] for seconds in (0.2, 0.5, 1.2)]
    assert cut == sorted(cut, reverse=True)
    check_page(tmp_path / "t.html", 1)


def test_two_callers_hear_the_same(rejoinder: Command, tmp_path: Path) -> None:
    arguments = ("asr", str(MANIFEST), "--kind", "speech", "--most", "2", "--json", str(tmp_path / "a.json"))
    heard = []
    for callers in ("1", "2"):
        assert rejoinder(*arguments, "--callers", callers)[0] == 0
        heard.append([clip["id"] for clip in json.loads((tmp_path / "a.json").read_bytes())["clips"] if clip["heard"]])
    assert heard[0] == heard[1]
    assert len(heard[0]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["asr", "nix.jsonl"], "nix.jsonl: not readable"),
        (["turns", str(MANIFEST), "--kind", "dialogue"], "the manifest has the kinds noise, speech"),
        (["asr", str(MANIFEST), "--condition", "rain"], "give clean, noise:SNR"),
        (["asr", str(MANIFEST), "--condition", "room"], "no clip of kind rir; give --room FILE"),
        (["asr", str(MANIFEST), "--kind", "speech", "--language", "fr"], "choose another --kind or --language"),
    ],
)
def test_mistakes_are_one_line(rejoinder: Command, arguments: list[str], message: str) -> None:
    status, _, stderr = rejoinder(*arguments)
    assert status == 2
    assert message in stderr
    assert stderr.count("\n") == 1


def test_missing_packages_are_named(rejoinder: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice.evaluation.cli.PACKAGES", ("whisper_normalizer_of_mars",))
    status, _, stderr = rejoinder("asr", str(MANIFEST))
    assert status == 2
    assert "pip install whisper-normalizer-of-mars" in stderr
