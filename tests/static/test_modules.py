"""The page's modules that need no browser, under Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parent.glob("*.test.mjs"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_module(file: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: install Node.js 20 or newer to test the page's modules")
    done = subprocess.run([node, "--test", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
