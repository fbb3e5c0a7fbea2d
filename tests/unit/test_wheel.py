"""What is installed: the pages come along, and an editable installation finds them where they are."""

from pathlib import Path
from zipfile import ZipFile

from hatchling.builders.wheel import WheelBuilder

from voice.pages import folder

ROOT = Path(__file__).resolve().parents[2]


def names(version: str, place: Path) -> set[str]:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(place), versions=[version])
    with ZipFile(built) as wheel:
        return set(wheel.namelist())


def test_the_wheel_holds_every_file_of_the_pages(tmp_path: Path) -> None:
    files = {path.relative_to(ROOT / "static").as_posix() for path in (ROOT / "static").rglob("*") if path.is_file()}
    found = names("standard", tmp_path)
    assert files
    assert found >= {f"voice/static/{name}" for name in files}
    tops = {name.split("/")[0] for name in found}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"streams", "voice"}


def test_an_editable_installation_copies_nothing(tmp_path: Path) -> None:
    found = names("editable", tmp_path)
    assert not [name for name in found if name.startswith(("voice/", "streams/", "static/"))]
    assert folder() == ROOT / "static"
