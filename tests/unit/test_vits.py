"""Cutting networks, on small ones built here: each id is a frame, and a frame is four samples."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from voice.engines.vits import FIRST_FRAMES, LONGEST_FRAMES, Vits, stretches

CHANNELS = 3


def weights(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).normal(0, 0.3, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def network(*, scopes: tuple[str, str] = ("/flow/", "/dec/"), far: bool = False, bare: bool = False) -> onnx.ModelProto:
    """Two speakers; `far` averages over all frames in the decoder, `bare` has no widths."""
    flow, dec = scopes
    nodes = [
        helper.make_node("Cast", ["input"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Floor" if bare else "Ceil", ["ids"], ["whole"]),
        helper.make_node("Unsqueeze", ["whole", "axis"], ["frames"]),
        helper.make_node("Mul", ["frames", "tenth"], ["latents"]),
        helper.make_node("Cast", ["sid"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["number", "one"], ["speaker"]),
        helper.make_node(
            "Constant", [], ["half"], value=numpy_helper.from_array(np.array([0.5], dtype=np.float32), "half")
        ),
        helper.make_node("Add", ["latents", "speaker"], ["mixed"], name=f"{flow}Add"),
        helper.make_node("Conv", ["mixed", "w1"], ["flowed"], name=f"{flow}Conv", pads=[4, 4], dilations=[2]),
        helper.make_node("Mul", ["flowed", "half"], ["z"]),
        helper.make_node("Conv", ["z", "w2"], ["pre"], name=f"{dec}Conv", pads=[3, 3]),
        helper.make_node("Add", ["pre", "speaker"], ["known"], name=f"{dec}Add"),
        helper.make_node("ReduceMean", ["known"], ["mean"], name=f"{dec}Mean", axes=[2]),
        helper.make_node("Add", ["known", "mean" if far else "half"], ["ready"], name=f"{dec}Add_1"),
        helper.make_node("ConvTranspose", ["ready", "w3"], ["up"], name=f"{dec}Up", strides=[4], pads=[2, 2]),
        helper.make_node("Tanh", ["up"], ["output"], name=f"{dec}Tanh"),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "ids"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("sid", TensorProto.INT64, [1]),
    ]
    tensors = [
        numpy_helper.from_array(np.array([1]), "axis"),
        numpy_helper.from_array(np.array([1, 1, 1]), "one"),
        numpy_helper.from_array(np.array([0.1], dtype=np.float32), "tenth"),
        weights("w1", CHANNELS, 1, 5),
        weights("w2", CHANNELS, CHANNELS, 7),
        weights("w3", CHANNELS, 1, 8),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "samples"])
    graph = helper.make_graph(nodes, "voice", inputs, [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def inputs(frames: int, speaker: int = 0) -> dict[str, NDArray[np.generic]]:
    return {
        "input": np.random.default_rng(frames).integers(1, 20, (1, frames)),
        "input_lengths": np.array([frames]),
        "scales": np.zeros(3, dtype=np.float32),
        "sid": np.array([speaker]),
    }


def whole(model: onnx.ModelProto, given: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.asarray(session.run(["output"], given)[0]).ravel()


@pytest.mark.parametrize("frames", [1, 5, FIRST_FRAMES, 2 * FIRST_FRAMES, 300, 1000])
@pytest.mark.parametrize("speaker", [0, 1])
def test_stretches_are_the_whole(frames: int, speaker: int) -> None:
    utterance = Vits(network(), inputs(80)).speak(inputs(frames, speaker))
    parts = list(utterance.stretches)
    assert [len(part) for part in parts] == [4 * (last - first) for first, last in stretches(frames)]
    assert utterance.samples == 4 * frames
    assert utterance.widths is not None
    assert np.array_equal(utterance.widths, inputs(frames)["input"][0])
    assert np.abs(np.concatenate(parts) - whole(network(), inputs(frames, speaker))).max() < 1e-6


def test_speakers_differ() -> None:
    voice = Vits(network(), inputs(80))
    one, other = [next(voice.speak(inputs(100, speaker)).stretches) for speaker in (0, 1)]
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize(
    "model",
    [network(scopes=("/flow/", "/other/")), network(scopes=("/other/", "/dec/")), network(far=True)],
    ids=["no decoder", "no flow", "sees all"],
)
def test_what_cannot_be_cut_is_spoken_whole(model: onnx.ModelProto) -> None:
    expected = whole(model, inputs(300))
    utterance = Vits(model, inputs(80)).speak(inputs(300))
    (only,) = utterance.stretches
    assert utterance.samples == len(only) == 1200
    assert np.abs(only - expected).max() < 1e-6


def test_widths_are_told_by_some_only() -> None:
    utterance = Vits(network(bare=True), inputs(80)).speak(inputs(300))
    assert utterance.widths is None
    assert len(list(utterance.stretches)) > 1


@given(st.integers(0, 5000))
def test_stretches_join_and_none_is_short_or_long(frames: int) -> None:
    parts = list(stretches(frames))
    assert [first for first, _ in parts] + [frames] == [0] + [last for _, last in parts]
    lengths = [last - first for first, last in parts]
    assert all(length >= FIRST_FRAMES for length in lengths[: -1 if frames < FIRST_FRAMES else None])
    assert all(length < LONGEST_FRAMES + FIRST_FRAMES for length in lengths)
    assert not lengths or lengths[0] < 2 * FIRST_FRAMES
