"""What of a language model decides the memory it takes: its shape. A table of models that suit calls. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BILLION = 10**9


class UnknownShape(ValueError):
    """A configuration does not tell the shape, or tells one that is not keys and values for every token."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What drafts tokens for a model.

    Attributes:
        path: repository of the model hub.
        parameters: that are read for each drafted token.
        accept: accept length on chat that its authors publish; 0 where they publish none.
    """

    algorithm: Literal["EAGLE3"]
    path: str
    parameters: float
    accept: float = 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's weights and what it keeps for a token.

    Attributes:
        parameters: all of them.
        embeddings: those of the input and output matrices, which stay at 16 bits where the rest has 8.
        heads: attention heads, by which weights can be split.
        kv_heads, head_dim: keys and values of one layer and token are 2 * kv_heads * head_dim numbers.
        routed: parameters of experts, of which a token reads the share `used`.
        assumed: all but the number of parameters is a guess.
    """

    parameters: float
    embeddings: float
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    routed: float = 0.0
    used: float = 1.0
    assumed: bool = False

    def read(self, tokens: float) -> float:
        """Parameters that a step over so many tokens reads, each token choosing its experts at random."""
        return self.parameters - self.routed * float((1 - self.used) ** tokens)

    @property
    def active(self) -> float:
        """Parameters that compute one token."""
        return self.parameters - self.routed * (1 - self.used)


@dataclass(frozen=True, slots=True)
class Model:
    """A model as a launch line names it.

    Attributes:
        path: repository of the model hub, or a folder.
        fp8: repository of the same weights with 8 bits; empty: the server converts them.
        tools: SGLang's parser of its function calls; empty: unknown.
        thinks: unless told otherwise, which a caller would have to wait for.
    """

    path: str
    shape: Shape
    fp8: str = ""
    draft: Draft | None = None
    tools: str = ""
    thinks: bool = False


def _qwen3(size: str, shape: Shape, head: str = "", drafted: float = 0.0, accept: float = 0.0) -> Model:
    draft = Draft("EAGLE3", f"AngelSlim/{head}", drafted, accept) if head else None
    path = f"Qwen/Qwen3-{size}"
    return Model(path, shape, f"{path}-FP8", draft, tools="qwen25", thinks=True)


MODELS = {
    "llama-3.2-3b": Model("meta-llama/Llama-3.2-3B-Instruct", Shape(3.213e9, 0.394e9, 28, 24, 8, 128), tools="llama3"),
    "llama-3.1-8b": Model(
        "meta-llama/Llama-3.1-8B-Instruct",
        Shape(8.030e9, 1.051e9, 32, 32, 8, 128),
        fp8="neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8",
        draft=Draft("EAGLE3", "lmsys/sglang-EAGLE3-LLaMA3.1-Instruct-8B", 0.425e9),
        tools="llama3",
    ),
    "llama-3.3-70b": Model(
        "meta-llama/Llama-3.3-70B-Instruct",
        Shape(70.554e9, 2.101e9, 80, 64, 8, 128),
        fp8="RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic",
        draft=Draft("EAGLE3", "lmsys/SGLang-EAGLE3-Llama-3.3-70B-Instruct-SpecForge", 1.405e9),
        tools="llama3",
    ),
    "qwen2.5-7b": Model("Qwen/Qwen2.5-7B-Instruct", Shape(7.616e9, 1.090e9, 28, 28, 4, 128), tools="qwen25"),
    "qwen3-1.7b": _qwen3("1.7B", Shape(1.721e9, 0.311e9, 28, 16, 8, 128), "Qwen3-1.7B_eagle3", 0.137e9, 2.17),
    "qwen3-4b": _qwen3("4B", Shape(4.022e9, 0.389e9, 36, 32, 8, 128), "Qwen3-4B_eagle3", 0.218e9, 2.07),
    "qwen3-8b": _qwen3("8B", Shape(8.191e9, 1.245e9, 36, 32, 8, 128), "Qwen3-8B_eagle3", 0.400e9, 1.97),
    "qwen3-14b": _qwen3("14B", Shape(14.768e9, 1.556e9, 40, 40, 8, 128), "Qwen3-14B_eagle3", 0.609e9, 1.74),
    "qwen3-32b": _qwen3("32B", Shape(32.762e9, 1.556e9, 64, 64, 8, 128), "Qwen3-32B_eagle3", 0.783e9, 1.86),
    "qwen3-30b-a3b": _qwen3(
        "30B-A3B",
        Shape(30.532e9, 0.622e9, 48, 32, 4, 128, routed=28.991e9, used=8 / 128),
        "Qwen3-a3B_eagle3",
        0.2e9,
        2.01,
    ),
}


def guessed(parameters: float) -> Shape:
    """The shape of a model of which only the size is known: as deep as dense models of that size are, or deeper."""
    layers = round(28 * (parameters / (1.5 * BILLION)) ** 0.27)
    return Shape(parameters, parameters / 8, layers, heads=8, kv_heads=8, head_dim=128, assumed=True)


def shape_of(config: Mapping[str, object], parameters: float = 0.0) -> Shape:
    """The shape that a `config.json` of the model hub describes.

    Args:
        parameters: all of them, where they are known; else they are counted for a decoder with gated layers.

    Raises:
        UnknownShape: it lacks a number, or its attention keeps something else than keys and values.
    """
    inner = config.get("text_config")
    text: Mapping[str, object] = inner if isinstance(inner, Mapping) else config
    if text.get("kv_lora_rank") or "linear_attention" in str(text.get("layer_types", "")):
        raise UnknownShape("its layers keep something else than keys and values of every token")
    layers, hidden, heads = (_number(text, key) for key in ("num_hidden_layers", "hidden_size", "num_attention_heads"))
    kv_heads = _number(text, "num_key_value_heads", heads)
    head_dim = _number(text, "head_dim", hidden // heads)
    embeddings = _number(text, "vocab_size") * hidden * (1 if text.get("tie_word_embeddings") else 2)
    attention = hidden * head_dim * 2 * (heads + kv_heads)
    if experts := _number(text, "num_experts", _number(text, "num_local_experts", 0)):
        routed = float(layers * experts * 3 * hidden * _number(text, "moe_intermediate_size", 0))
        routed = routed or float(layers * experts * 3 * hidden * _number(text, "intermediate_size"))
        used, dense = _number(text, "num_experts_per_tok") / experts, 0
    else:
        routed, used, dense = 0.0, 1.0, 3 * hidden * _number(text, "intermediate_size")
    counted = layers * (attention + dense) + routed + embeddings
    return Shape(parameters or counted, embeddings, layers, heads, kv_heads, head_dim, routed, used)


def _number(config: Mapping[str, object], key: str, default: int | None = None) -> int:
    value = config.get(key, default)
    if value is None and default is not None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0 or (value == 0 and default != 0):
        raise UnknownShape(f'"{key}" is {"missing" if value is None else "no positive whole number"}')
    return value
