"""Weights recoded for a CPU keep their values and everything that is said of them."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from voice.engines.weights import quick

WORDS = ["<s>", "sea", "sailor"]


def written(path: Path, kind: GGMLQuantizationType) -> Path:
    numbers = np.random.default_rng(3).normal(size=(8, 64)).astype(np.float32)
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.5, 0.25, 0.125])
    writer.add_tensor("norm", numbers[0])
    writer.add_tensor("ffn", quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_values_and_the_facts_stay(tmp_path: Path) -> None:
    path = written(tmp_path / "small.gguf", GGMLQuantizationType.Q4_1)
    before, after = GGUFReader(path), GGUFReader(quick(path))
    for field in before.fields.values():
        if not field.name.startswith("GGUF."):
            assert after.fields[field.name].contents() == field.contents()
    assert after.tensors[1].tensor_type == GGMLQuantizationType.Q8_0
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (old.name, list(old.shape)) == (new.name, list(new.shape))
        one, other = (dequantize(tensor.data, tensor.tensor_type) for tensor in (old, new))
        assert np.abs(one - other).max() <= np.abs(one).max() / 250


def test_it_is_done_once_for_a_file_and_again_for_another(tmp_path: Path) -> None:
    path = written(tmp_path / "small.gguf", GGMLQuantizationType.Q4_1)
    made = quick(path)
    at = made.stat().st_mtime_ns
    assert quick(path) == made
    assert made.stat().st_mtime_ns == at
    path.write_bytes(path.read_bytes() + b"\0")
    assert quick(path) not in (made, path)
    assert [*tmp_path.glob("*.gguf")] == [path]
    assert len([*tmp_path.iterdir()]) == 2, "the older copy is gone"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("fit.gguf", GGMLQuantizationType.Q8_0), (f"{'x' * 240}.gguf", GGMLQuantizationType.Q4_1)],
    ids=["nothing to gain", "no place beside it"],
)
def test_else_they_are_used_as_they_are(tmp_path: Path, name: str, kind: GGMLQuantizationType) -> None:
    path = written(tmp_path / name, kind)
    assert quick(path) == path
    assert [*tmp_path.iterdir()] == [path]
