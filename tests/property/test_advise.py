"""Advice for SGLang: what is advised fits, more is never worse, and each remedy helps."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.advise import CONTEXT, DRAFTED, GIB, STEPS, TOPK, Advice, DoesNotFit, Gpu, advise
from voice.llm_models import MODELS, Model, Shape, UnknownShape, guessed, shape_of

own = st.floats(0.1, 400).map(lambda billions: Model("own", guessed(billions * 1e9)))
models = st.sampled_from(list(MODELS.values())) | own
gpus = st.builds(Gpu, st.floats(1, 300), st.integers(1, 16), st.booleans())
contexts = st.sampled_from((1024, 2048, 4096, CONTEXT, 32768))
LLAMA_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
QWEN_A3B = {
    "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48, "num_attention_heads": 32, "head_dim": 128,
    "num_key_value_heads": 4, "vocab_size": 151936, "num_experts": 128, "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}  # fmt: skip


def calls(model: Model, gpu: Gpu, wanted: int, context: int = CONTEXT) -> int:
    try:
        return advise(model, gpu, wanted, context).calls
    except DoesNotFit:
        return 0


def argument(advice: Advice, name: str) -> str:
    given = advice.arguments()
    return given[given.index(name) + 1]


@given(models, gpus, st.integers(1, 500), contexts)
def test_what_is_advised_fits(model: Model, gpu: Gpu, wanted: int, context: int) -> None:
    try:
        advice = advise(model, gpu, wanted, context)
    except DoesNotFit:
        return
    plan = advice.plan
    assert 1 <= advice.calls <= wanted
    assert plan.parallel * plan.workers <= gpu.count
    fraction, running = (
        float(argument(advice, "--mem-fraction-static")),
        int(argument(advice, "--max-running-requests")),
    )
    assert int(argument(advice, "--context-length")) == context
    assert running * plan.workers >= advice.calls
    cache = running * context * plan.token
    assert plan.weights + cache <= fraction * gpu.memory * GIB
    assert fraction * gpu.memory <= gpu.memory - 4.5
    assert gpu.fp8 or not (plan.fp8_weights or plan.fp8_cache)
    assert advice.remedies or advice.calls == wanted or plan.model.shape.parameters > 10e9


@given(models, gpus, st.floats(0, 200), st.integers(0, 8), st.integers(1, 300), contexts)
def test_more_never_serves_fewer(model: Model, gpu: Gpu, more: float, further: int, wanted: int, context: int) -> None:
    served = calls(model, gpu, wanted, context)
    assert calls(model, Gpu(gpu.memory + more, gpu.count, gpu.fp8), wanted, context) >= served
    assert calls(model, Gpu(gpu.memory, gpu.count + further, gpu.fp8), wanted, context) >= served
    assert calls(model, Gpu(gpu.memory, gpu.count), wanted, context) >= served
    assert calls(model, gpu, wanted, context // 2) >= served


@given(models, gpus, st.integers(1, 100), contexts)
def test_each_remedy_makes_room_for_all(model: Model, gpu: Gpu, wanted: int, context: int) -> None:
    try:
        remedies = advise(model, gpu, wanted, context).remedies
    except DoesNotFit as error:
        wanted, remedies = 1, (str(error),)
    for kind, size in re.findall(r"(--context|--gpus|GPUs of) (\d+)", "; ".join(remedies)):
        memory = float(size) if kind == "GPUs of" else gpu.memory
        count = int(size) if kind == "--gpus" else gpu.count
        assert (
            calls(model, Gpu(memory, count, gpu.fp8), wanted, int(size) if kind == "--context" else context) == wanted
        )


@given(models, gpus, st.integers(1, 500))
def test_drafts_are_advised_where_they_pay(model: Model, gpu: Gpu, wanted: int) -> None:
    try:
        advice = advise(model, gpu, wanted)
    except DoesNotFit:
        return
    named = [name for name in advice.arguments() if name.startswith("--speculative-num") or "topk" in name]
    assert len(named) == (3 if advice.plan.draft else 0)
    assert TOPK == 1
    assert DRAFTED == STEPS + 1
    if advice.plan.draft:
        assert 1 < advice.plan.needed(wanted) < DRAFTED


@pytest.mark.parametrize(("config", "name"), [(LLAMA_8B, "llama-3.1-8b"), (QWEN_A3B, "qwen3-30b-a3b")])
def test_the_table_agrees_with_the_published_configurations(config: dict[str, object], name: str) -> None:
    counted, known = shape_of(config), MODELS[name].shape
    assert counted.parameters == pytest.approx(known.parameters, rel=0.001)
    assert counted.embeddings == pytest.approx(known.embeddings, rel=0.001)
    assert counted.routed == pytest.approx(known.routed, rel=0.001)
    assert (counted.layers, counted.heads, counted.kv_heads, counted.head_dim) == (
        known.layers, known.heads, known.kv_heads, known.head_dim,
    )  # fmt: skip


def test_a_guess_keeps_no_less_for_a_token_than_the_models_known() -> None:
    for model in MODELS.values():
        shape: Shape = model.shape
        size = guessed(shape.parameters)
        assert size.layers * size.kv_heads * size.head_dim >= 0.95 * shape.layers * shape.kv_heads * shape.head_dim


@pytest.mark.parametrize(
    "wrong",
    [
        {"kv_lora_rank": 512}, {"layer_types": ["linear_attention"]}, {"hidden_size": "4096"}, {"vocab_size": None},
        {"num_hidden_layers": 0},
    ],
)  # fmt: skip
def test_a_shape_that_is_not_understood_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UnknownShape):
        shape_of(LLAMA_8B | wrong)


def test_known_cards() -> None:
    """An 8B model: 16 bits and drafts on 80 GiB, 8 bits on 24, and not at all on 8."""
    large = advise(MODELS["qwen3-8b"], Gpu(80), 16)
    assert (large.calls, large.plan.fp8_weights, large.plan.draft is not None) == (16, False, True)
    small = advise(MODELS["qwen3-8b"], Gpu(24), 16)
    assert (small.calls, small.plan.fp8_weights) == (16, True)
    with pytest.raises(DoesNotFit, match="--gpus 4"):
        advise(MODELS["qwen3-32b"], Gpu(16), 16)
    shared = advise(MODELS["llama-3.3-70b"], Gpu(80, 4), 8)
    assert (shared.plan.parallel, shared.plan.workers, shared.plan.fp8_weights) == (4, 1, False)
