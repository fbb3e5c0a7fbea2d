"""How SGLang should be launched so that so many calls fit into a GPU's memory, and why. Pure arithmetic.

Sources: the reserve is that of SGLang 0.5.23, `arg_groups/memory_hook.py`. Drafts pay when a step that checks them
makes more tokens than it takes longer (Leviathan et al. 2023, arXiv:2211.17192); a step takes as long as it takes to
read the weights or to compute with them, whichever is longer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor

from voice.llm_models import BILLION, Draft, Model

GIB = 1024**3
CONTEXT, SHORTEST_CONTEXT = 8192, 1024
"""Tokens of a call; 8192 are about twenty minutes of talk."""
CHUNK = 2048
"""Tokens of a prompt computed at once, while all other callers wait."""
RESERVE, RESERVED_SHARE, RESERVE_OF_8 = 4.5, 1 / 8, 1.0
"""GiB that activations and graphs of a GPU take, at least and of large GPUs; and more where 8 GPUs share the work."""
LARGEST, MOST_GPUS = 1024, 64
"""GiB of the largest GPU, and the most GPUs, that are thought of."""
PARALLEL = (1, 2, 4, 8)
STEPS, TOPK, DRAFTED = 3, 1, 4
ANSWERING = 0.25
"""Share of calls that are being answered at the same time, at the worst."""
RIDGE = 150
"""Tokens of a step from which the GPU no longer waits for memory (A100 156, RTX 4090 165, H100 295)."""
OVERHEAD = 1.05
EXPECTED = 1.8
"""Accept length that is reckoned with on chat where the head's authors publish none."""


class DoesNotFit(ValueError):
    """Not a single call fits; the message says what would help."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What there is: GiB of each GPU, how many, and whether 8-bit numbers may be used (from L4, RTX 40 and H100 on)."""

    memory: float
    count: int = 1
    fp8: bool = True

    def usable(self, parallel: int) -> float:
        """Bytes for weights and caches on one GPU, where so many share the work."""
        return self.memory * self.fraction(parallel) * GIB

    def fraction(self, parallel: int) -> float:
        """The same as a share of its memory."""
        reserve = max(RESERVE, self.memory * RESERVED_SHARE) + RESERVE_OF_8 * parallel / 8
        return max(0, floor(1000 * (1 - reserve / self.memory))) / 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to serve a model.

    Attributes:
        parallel: GPUs that share one copy of the weights.
        workers: copies of the weights, each a server of its own.
        fp8_weights, fp8_cache: 8 bits instead of 16.
        draft: what drafts tokens.
    """

    model: Model
    gpu: Gpu
    context: int
    parallel: int
    workers: int
    fp8_weights: bool
    fp8_cache: bool
    draft: Draft | None

    @property
    def weights(self) -> float:
        """Bytes on each GPU, those of the draft included."""
        shape = self.model.shape
        ours = shape.parameters + shape.embeddings if self.fp8_weights else 2 * shape.parameters
        return (ours + 2 * (self.draft.parameters if self.draft else 0)) / self.parallel

    @property
    def token(self) -> int:
        """Bytes of cache on each GPU for one token."""
        shape = self.model.shape
        layers = shape.layers + (1 if self.draft else 0)
        return 2 * layers * ceil(shape.kv_heads / self.parallel) * shape.head_dim * (1 if self.fp8_cache else 2)

    @property
    def tokens(self) -> int:
        """That the cache of one worker holds."""
        return max(0, int((self.gpu.usable(self.parallel) - self.weights) // self.token))

    @property
    def room(self) -> int:
        """Calls with a full context that all workers hold together."""
        return self.workers * (self.tokens // (self.context + (DRAFTED if self.draft else 0)))

    def needed(self, calls: int) -> float:
        """Accept length from which drafts pay while the worker's share of so many calls is served."""
        if self.draft is None:
            return 0.0
        shape, answers = self.model.shape, max(1.0, ANSWERING * calls / self.workers)
        drafts = STEPS * self.draft.parameters * max(1.0, answers / RIDGE)

        def step(tokens: float) -> float:
            return max(shape.read(tokens), shape.active * tokens / RIDGE)

        return OVERHEAD * (step(answers * DRAFTED) + drafts) / step(answers)


@dataclass(frozen=True, slots=True)
class Advice:
    """A plan for some calls.

    Attributes:
        wanted: calls that were asked for.
        calls: how many of them the plan serves.
        remedies: what would let it serve all of them.
    """

    plan: Plan
    wanted: int
    calls: int
    remedies: tuple[str, ...] = ()

    @property
    def running(self) -> int:
        """Calls of one worker."""
        return ceil(self.calls / self.plan.workers)

    def arguments(self, worker: int = 0) -> list[str]:
        """What the n-th worker's `sglang serve` is given."""
        plan, model = self.plan, self.plan.model
        given = ["--model-path", model.fp8 if plan.fp8_weights and model.fp8 else model.path]
        given += ["--served-model-name", model.path] if plan.fp8_weights and model.fp8 else []
        given += ["--port", str(30000 + worker)]
        given += ["--base-gpu-id", str(worker * plan.parallel)] if plan.workers > 1 else []
        given += ["--tp-size", str(plan.parallel)] if plan.parallel > 1 else []
        given += ["--quantization", "fp8"] if plan.fp8_weights and not model.fp8 else []
        given += ["--kv-cache-dtype", "fp8_e4m3"] if plan.fp8_cache else []
        given += ["--mem-fraction-static", f"{plan.gpu.fraction(plan.parallel):.3f}"]
        given += ["--context-length", str(plan.context), "--max-running-requests", str(self.running)]
        given += ["--chunked-prefill-size", str(CHUNK), "--enable-priority-scheduling", "--default-priority-value", "0"]
        given += ["--retraction-policy", "priority", "--enable-metrics", "--enable-cache-report"]
        given += ["--constrained-json-disable-any-whitespace"]  # else a demanded call may be spaces to its limit
        given += ["--tool-call-parser", model.tools] if model.tools else []
        given += ["--default-chat-template-kwargs", '{"enable_thinking": false}'] if model.thinks else []
        if plan.draft:
            given += ["--speculative-algorithm", plan.draft.algorithm]
            given += ["--speculative-draft-model-path", plan.draft.path]
            given += ["--speculative-num-steps", str(STEPS), "--speculative-eagle-topk", str(TOPK)]
            given += ["--speculative-num-draft-tokens", str(DRAFTED)]
            given += ["--speculative-draft-model-quantization", "unquant"] if plan.fp8_weights else []
        return given

    def reasons(self) -> Iterator[tuple[str, str]]:
        """What was reckoned with: name and figure."""
        plan, shape = self.plan, self.plan.model.shape
        heads = f"{shape.layers} layers, {shape.kv_heads} KV heads of {shape.head_dim}"
        unsure = "; assumed, a folder with config.json says it exactly" if shape.assumed else ""
        yield "model", f"{shape.parameters / BILLION:.1f} billion parameters, {heads}{unsure}"
        each = "" if plan.parallel == 1 else f" on each of {plan.parallel} GPUs"
        drafts = ", the draft's included" if plan.draft else ""
        yield "weights", f"{plan.weights / GIB:.1f} GiB{each}, {8 if plan.fp8_weights else 16} bits{drafts}"
        free = plan.gpu.memory - plan.gpu.usable(plan.parallel) / GIB
        yield "kept free", f"{free:.1f} GiB{each} for activations and graphs"
        bits = "8 bits" if plan.fp8_cache else "16 bits"
        yield "cache", f"{plan.token / 1024:.0f} KiB for a token{each}, {bits}: {plan.tokens} tokens in a worker"
        yield "a call", f"{plan.context} tokens, about {plan.context // 400} minutes of talk"
        yield "calls", f"{self.calls} of {self.wanted} wanted, all with a full context; there is room for {plan.room}"
        copies = "one server" if plan.workers == 1 else f"{plan.workers} servers; a conversation stays with one"
        yield "servers", copies + (f", {plan.parallel} GPUs each (tensor parallel)" if plan.parallel > 1 else "")
        if plan.fp8_weights or plan.fp8_cache:
            yield "8 bits", "because 16 do not fit so many calls; quick on L4, RTX 40, H100 and newer"
        yield "speculation", self._speculation()

    def _speculation(self) -> str:
        plan, model = self.plan, self.plan.model
        if plan.draft:
            known = f"its authors give {plan.draft.accept:g} on chat" if plan.draft.accept else "measure yours"
            return (
                f"{plan.draft.algorithm}, {DRAFTED} tokens checked at once; pays from an accept length of "
                f"{plan.needed(self.calls):.1f} ({known}; rejoinder_llm_accept_length shows it)"
            )
        if model.draft:
            return "none: with so many calls, or in so little memory, drafts cost more than they win"
        return "none: no public head is known for it; NGRAM pays where answers repeat the prompt"


def advise(model: Model, gpu: Gpu, calls: int, context: int = CONTEXT) -> Advice:
    """The plan that serves so many calls with the best answers: 16 bits where they fit, and drafts where they pay.

    Raises:
        DoesNotFit: not a single call fits.
    """
    best = _best(model, gpu, calls, context)
    if best.room == 0:
        raise DoesNotFit(_nothing_fits(model, gpu, context))
    if best.room >= calls:
        return Advice(best, calls, calls)
    return Advice(best, calls, best.room, tuple(_remedies(model, gpu, calls, context)))


def _best(model: Model, gpu: Gpu, calls: int, context: int) -> Plan:
    """The first plan with room for all calls, else the one with the most room."""
    plans = list(_plans(model, gpu, calls, context))
    enough = (plan for plan in plans if plan.room >= calls)
    return next(enough, None) or max(plans, key=lambda plan: plan.room)


def _plans(model: Model, gpu: Gpu, calls: int, context: int) -> Iterator[Plan]:
    """Best answers first."""
    for weights, cache in ((False, False), (True, False), (True, True)) if gpu.fp8 else ((False, False),):
        for parallel in PARALLEL:
            if parallel > gpu.count or model.shape.heads % parallel:
                continue
            for draft in (model.draft, None) if model.draft else (None,):
                plan = Plan(model, gpu, context, parallel, gpu.count // parallel, weights, cache, draft)
                if draft is None or plan.needed(calls) < (draft.accept or EXPECTED):
                    yield plan


def _holds(model: Model, gpu: Gpu, calls: int, context: int) -> bool:
    return _best(model, gpu, calls, context).room >= calls


def _least_memory(model: Model, gpu: Gpu, calls: int, context: int) -> int | None:
    sizes = range(ceil(gpu.memory), LARGEST + 1)
    return next((size for size in sizes if _holds(model, Gpu(size, gpu.count, gpu.fp8), calls, context)), None)


def _remedies(model: Model, gpu: Gpu, calls: int, context: int) -> Iterator[str]:
    """What lets so many calls fit, each by itself."""
    shorter = context // 2
    while shorter >= SHORTEST_CONTEXT and not _holds(model, gpu, calls, shorter):
        shorter //= 2
    if shorter >= SHORTEST_CONTEXT:
        yield f"--context {shorter}"
    counts = range(gpu.count + 1, MOST_GPUS + 1)
    more = next((n for n in counts if _holds(model, Gpu(gpu.memory, n, gpu.fp8), calls, context)), None)
    if more:
        yield f"--gpus {more}"
    if (size := _least_memory(model, gpu, calls, context)) is not None:
        yield f"GPUs of {size} GiB"
    if not gpu.fp8 and _holds(model, Gpu(gpu.memory, gpu.count), calls, context):
        yield "8 bits, which L4, RTX 40, H100 and newer compute quickly (leave out --no-fp8)"


def _nothing_fits(model: Model, gpu: Gpu, context: int) -> str:
    plan = _best(model, gpu, 1, context)
    free = gpu.memory - gpu.usable(plan.parallel) / GIB
    bits = 8 if plan.fp8_weights else 16
    remedies = "; or ".join([*_remedies(model, gpu, 1, context), "choose a smaller model"])
    return (
        f"{model.path} does not fit {gpu.memory:g} GiB: its weights take {plan.weights / GIB:.1f} GiB of each GPU with "
        f"{bits} bits, a call {plan.token * context / GIB:.1f}, and {free:.1f} are kept free; {remedies}"
    )
