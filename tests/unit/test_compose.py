"""The composition for a GPU machine, read as YAML: both services, their keys, health and volumes."""

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from voice.config import Config
from voice.settings import load

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "compose.gpu.yaml"


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    assert set(found["volumes"]) == {"models", "weights"}
    services: dict[str, Any] = found["services"]
    return services


def test_sglang_is_pinned_guarded_and_launched_by_a_file_that_is_there() -> None:
    sglang = services()["sglang"]
    assert re.fullmatch(r"lmsysorg/sglang:v[\d.]+", sglang["image"])
    default = re.search(r"/etc/sglang/\$\{SGLANG_CONFIG:-([\w.-]+)\}", " ".join(sglang["command"]))
    assert default
    assert (ROOT / "configs" / "sglang" / f"{default[1]}.yaml").is_file()
    assert "--api-key ${SGLANG_KEY:?" in " ".join(sglang["command"])
    assert "ports" not in sglang
    assert "/ready" in " ".join(sglang["healthcheck"]["test"])


def test_ours_wants_keys_and_waits_for_sglang() -> None:
    ours = services()["rejoinder"]
    assert ours["build"]["args"] == {"VARIANT": "cuda"}
    assert ours["environment"]["REJOINDER__AUTH__KEYS"].startswith("${REJOINDER_KEYS:?")
    assert ours["depends_on"] == {"sglang": {"condition": "service_healthy"}}
    assert ours["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_its_settings_are_settings() -> None:
    given = {
        name: re.sub(r"\$\{\w+(:?[-?])?(.*)\}", r"\2", value) or "k"
        for name, value in services()["rejoinder"]["environment"].items()
    }
    config, _ = load(ROOT / "configs" / "gpu.toml", given, ())
    assert config != Config()
    assert config.llm.engine == "sglang"
    assert config.llm.url == "http://sglang:30000"
    assert config.asr.device == "cuda"
