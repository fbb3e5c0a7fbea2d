"""The README's client does what the README says."""

import re
import sys
from pathlib import Path

import anyio
import pytest

from streams.audio import read, write
from tests.live import Live, clip

pytestmark = pytest.mark.anyio

README = Path(__file__).parent.parent.parent / "README.md"


async def test_the_client_of_the_readme_gets_a_spoken_answer(live: Live, tmp_path: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(program.strip().splitlines()) <= 24
    write(tmp_path / "question.wav", clip("lj-LJ001-0005.flac"))
    async with live.serving() as place:
        here = program.replace("http://127.0.0.1:8800", f"http://127.0.0.1:{place.port}")
        with anyio.fail_after(60):
            finished = await anyio.run_process([sys.executable, "-c", here], cwd=tmp_path)
    assert finished.stdout.decode().strip()
    assert read(tmp_path / "answer.wav").seconds > 0.5
