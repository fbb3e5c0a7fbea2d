"""A VITS network on onnxruntime, cut where its sound can be computed stretch by stretch.

VITS: Kim, Kong and Son, "Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech",
2021. The text encoder and the durations need the whole sentence. The flow and the decoder (HiFi-GAN) that follow are
convolutions along time, so a stretch of sound depends on the frames under it and a few on either side.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from piper.patch_voice_with_alignment import add_alignment_output

FIRST_FRAMES = 30
LONGEST_FRAMES = 270
GROWTH = 3
"""Frames of sound (11.6 ms at 22.05 kHz) computed first and at most at a time, and each stretch to the one before.

On one core of a small server the next stretch takes a third of the time that this one sounds, and every seam costs as
much as 40 frames.
"""

_FLOW = "/flow/"
_DECODER = "/dec/"
"""Scopes that the exporter writes before the names of nodes."""

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the network makes of one sentence.

    Attributes:
        widths: frames of each id, float32 (ids,); None where the voice does not tell.
        samples: of the whole.
        stretches: float32 (samples,) each, one after the other; each step computes one.
    """

    widths: NDArray[np.float32] | None
    samples: int
    stretches: Iterator[NDArray[np.float32]]


class Vits:
    """The network of one voice.

    Args:
        model: a piper voice; inputs `input` int64 (1, ids), `input_lengths` int64 (1,), `scales` float32 (3,) and, with
            several speakers, `sid` int64 (1,); output float32 (1, 1, 1, samples) or (1, 1, samples).
        sample: inputs of a hundred ids or so: a voice that sees further than half of their sound is not cut.

    Raises:
        onnxruntime's errors: the model is broken, or another kind of model.
    """

    def __init__(self, model: onnx.ModelProto, sample: Mapping[str, NDArray[np.generic]]) -> None:
        self._sound = model.graph.output[0].name
        self._widths = ""
        with suppress(ValueError):  # the voice has the output already, or cannot have it
            self._widths = add_alignment_output(model)
        if not self._widths and len(model.graph.output) > 1:
            self._widths = model.graph.output[1].name
        self._stages: tuple[_Stage, ...] = ()
        model = onnx.shape_inference.infer_shapes(model)
        if (front := _cut(model, _FLOW)) and (back := _cut(front[1], _DECODER)):
            self._front = _Stage(front[0])
            stages = _Stage(back[0]), _Stage(back[1])
            values = self._front.run(sample)
            if all(_probe(stage, values) for stage in stages):
                self._stages = stages
        if not self._stages:
            self._front = _Stage(model)
            self._front.run(sample)

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """The part that reads the text."""
        return self._front.session

    def speak(self, inputs: Mapping[str, NDArray[np.generic]]) -> Utterance:
        """Read the text; its sound is computed as it is asked for. A voice that cannot be cut has one stretch."""
        values = self._front.run(inputs)
        widths = values.pop(self._widths).reshape(-1) if self._widths else None
        if not self._stages:
            whole = values[self._sound].reshape(-1)
            return Utterance(widths, len(whole), iter([whole]))
        frames = max(value.shape[-1] for value in values.values())
        return Utterance(widths, frames * self._stages[-1].scale, self._stretches(values, frames))

    def _stretches(self, values: dict[str, NDArray[np.float32]], frames: int) -> Iterator[NDArray[np.float32]]:
        flow, decoder = self._stages
        flowed = 0
        for first, last in stretches(frames):
            ready = min(last + decoder.reach, frames)
            if frames - ready < 2 * flow.reach:  # what a seam costs
                ready = frames
            if flowed < ready:
                for name, new in flow.window(values, flowed, ready, frames).items():
                    values[name] = np.concatenate([values[name], new], axis=-1) if flowed else new
                flowed = ready
            yield decoder.window(values, first, last, frames)[self._sound].reshape(-1)


def stretches(frames: int) -> Iterator[tuple[int, int]]:
    """Where to cut a sentence, frames [first, last): growing, and none shorter than the first."""
    first, length = 0, FIRST_FRAMES
    while first < frames:
        last = frames if frames - first < length + FIRST_FRAMES else first + length
        yield first, last
        first, length = last, min(GROWTH * length, LONGEST_FRAMES)


class _Stage:
    """A part of the network.

    Attributes:
        reach: frames on either side of an input frame whose output depends on it.
        scale: samples (or frames) it makes of one frame.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self.reach = 0
        self.scale = 1
        self.inputs = [value.name for value in self.session.get_inputs()]
        self._outputs = [value.name for value in self.session.get_outputs()]

    def run(self, values: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """All outputs, by name."""
        results = self.session.run(self._outputs, {name: values[name] for name in self.inputs})
        return dict(zip(self._outputs, results, strict=True))

    def window(self, values: Tensors, first: int, last: int, frames: int) -> dict[str, NDArray[np.float32]]:
        """The outputs of frames [first, last) out of `frames`: exactly those that all frames together would give.

        An input of one frame holds for all: it says who speaks.
        """
        begin, end = max(first - self.reach, 0), min(last + self.reach, frames)
        inside = {
            name: values[name] if values[name].shape[-1] == 1 else values[name][..., begin:end] for name in self.inputs
        }
        kept = {}
        for name, value in self.run(inside).items():
            kept[name] = value[..., (first - begin) * self.scale : (last - begin) * self.scale]
        return kept


def _probe(stage: _Stage, values: dict[str, NDArray[np.float32]]) -> bool:
    """Learn a stage's reach and scale, and add its outputs to `values`; false where it sees further than half of them.

    One frame in the middle is changed: what comes out different lies in its reach.
    """
    frames = max(values[name].shape[-1] for name in stage.inputs)
    middle = frames // 2
    nudged = dict(values)
    for name in stage.inputs:
        if values[name].shape[-1] == frames:
            nudged[name] = values[name].copy()
            nudged[name][..., middle] += 1.0
    plain = stage.run(values)
    for name, other in stage.run(nudged).items():
        changed = np.flatnonzero((plain[name] != other).reshape(-1, other.shape[-1]).any(axis=0))
        stage.scale = other.shape[-1] // frames
        touched = changed // stage.scale
        stage.reach = max(stage.reach, int(np.abs(touched - middle).max(initial=0)) + 1)
    values.update(plain)
    return bool(stage.reach < middle)


def _cut(model: onnx.ModelProto, scope: str) -> tuple[onnx.ModelProto, onnx.ModelProto] | None:
    """Divide a model in two: what comes before any node of a scope, and those nodes with all that follow from them.

    The second takes whatever crosses the cut: inputs or results of the first, which has them as outputs too. None where
    the scope is missing, or where something crosses that is no float tensor.
    """
    graph = model.graph
    known = {value.name: value for value in (*graph.input, *graph.value_info)}
    weights = {tensor.name for tensor in graph.initializer}
    made: set[str] = set()
    before, after, constants = [], [], {}
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):  # it sees more than its inputs
            return None
        if node.name.startswith(scope) or made.intersection(node.input):
            after.append(node)
            made.update(node.output)
        else:
            before.append(node)
            constants.update({node.output[0]: node} if node.op_type == "Constant" else {})
    needed = dict.fromkeys(name for node in after for name in node.input if name and name not in made | weights)
    crossing = [name for name in needed if name not in constants]
    if not after or any(
        name not in known or known[name].type.tensor_type.elem_type != onnx.TensorProto.FLOAT for name in crossing
    ):
        return None
    passed = [known[name] for name in crossing]
    given = {value.name for value in graph.input}
    outputs = [value for value in graph.output if value.name not in made]
    outputs += [value for value in passed if value.name not in given]
    return (
        _part(model, before, list(graph.input), outputs),
        _part(
            model,
            [constants[name] for name in needed if name in constants] + after,
            passed,
            [value for value in graph.output if value.name in made],
        ),
    )


def _part(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """A model of some of the nodes, with the weights and shapes they use."""
    used = {name for node in nodes for name in (*node.input, *node.output)}
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = model.graph.name
    part.graph.node.extend(nodes)
    part.graph.input.extend(inputs)
    part.graph.output.extend(outputs)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in used)
    part.graph.value_info.extend(value for value in model.graph.value_info if value.name in used)
    return part
