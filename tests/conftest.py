"""Shared fixtures. Tests in tests/session run on virtual time, all others on a plain asyncio loop."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from streams.virtual import VirtualLoop
from voice.config import ModelsConfig
from voice.models import Store

_ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("rejoinder", deadline=None)  # shared machines stall; timing is not what these tests judge
settings.load_profile("rejoinder")


@pytest.fixture(scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    virtual = request.path.is_relative_to(_ROOT / "tests" / "session")
    return "asyncio", {"loop_factory": VirtualLoop} if virtual else {}


@pytest.fixture(scope="session")
def speech_dir() -> Path:
    """Real speech with references (manifest.jsonl and the files it names)."""
    place = Path(os.environ.get("REJOINDER_TEST_SPEECH") or _ROOT.parent / "shared" / "data" / "speech")
    if not (place / "manifest.jsonl").is_file():
        pytest.skip("no speech data: set REJOINDER_TEST_SPEECH to a folder with manifest.jsonl")
    return place


@pytest.fixture(scope="session")
def model_folder() -> Callable[[str], Path]:
    """Folder of a model's verified files, from the store that REJOINDER__MODELS__DIR or the user's cache holds."""
    store = Store(ModelsConfig(dir=os.environ.get("REJOINDER__MODELS__DIR", "")))

    def folder(name: str) -> Path:
        if not store.present(name):
            pytest.skip(f"model {name} is not here: run `rejoinder models fetch {name}`")
        return store.folder(name)

    return folder
