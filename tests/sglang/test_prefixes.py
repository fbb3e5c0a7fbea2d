"""What a real server need not read again: transcripts that grow, and conversations that go on."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from streams.metrics import Prometheus
from tests.live import CONFIG, Live
from tests.sglang.asking import answer
from tests.sglang.servers import PLAIN, Tell
from voice.engines.sglang import SglangLlm
from voice.events import Message, Prompt
from voice.models import Store, needed
from voice.service import open_engines

pytestmark = pytest.mark.anyio

SAID = "I would like to reserve a quiet table near the window for seven people tomorrow evening at eight please."
TOOL = {"type": "function", "name": "reserve", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("tools", [(), (TOOL,)], ids=["talk", "tools"])
async def test_a_final_prompt_is_what_its_partials_have_warmed(
    llm: SglangLlm, tell: Tell, tools: tuple[dict[str, object], ...]
) -> None:
    """As the recogniser's stable words grow, a few at a time."""
    system = Message("system", f"{uuid4().hex}: answer in one short sentence.")
    words = SAID.split()
    computed = []
    for count in range(4, len(words), 4):
        partial = Prompt((system, Message("user", " ".join(words[:count]))), tools)
        read = await llm.prefill(partial, request=uuid4().hex)
        assert read.completion == 0
        computed.append(read.prompt - read.cached)
    assert computed[0] > 20  # nothing was known
    assert max(computed[1:]) < 12  # each time the new words alone
    _, usage = await answer(llm, Prompt((system, Message("user", SAID)), tools, max_tokens=1))
    tell(f"a final prompt of {usage.prompt} tokens had {usage.cached} cached, {usage.cached / usage.prompt:.0%}")
    assert usage.cached >= 0.8 * usage.prompt


@pytest.mark.parametrize("server", [PLAIN], indirect=True)
async def test_a_conversation_reads_each_of_its_turns_once(
    server: str, tell: Tell, model_folder: Callable[[str], Path]
) -> None:
    """Three turns through the whole gateway: what was the prompt of one is, byte for byte, the start of the next."""
    llm = msgspec.structs.replace(CONFIG.llm, engine="sglang", url=server, model="auto")
    config = msgspec.structs.replace(CONFIG, llm=llm)
    for name in needed(config):
        model_folder(name)
    metrics = Prometheus()
    async with open_engines(config, Store(config.models), metrics) as engines:
        live = Live(engines, metrics)
        async with live.serving(llm=llm) as place, place.call() as caller:
            await caller.update(instructions=f"{uuid4().hex}: answer in one short sentence.")
            texts = ["What is the capital of France?", "And of Italy?", "Which of the two is larger?"]
            replies = [await caller.ask(text, output_modalities=["text"]) for text in texts]
    known = 0
    for reply in replies:
        assert reply.status in ("completed", "incomplete"), reply.error
        assert reply.usage is not None
        prompt, cached = reply.usage.input_tokens, reply.usage.input_token_details.cached_tokens
        tell(f"a turn's prompt of {prompt} tokens had {cached} cached, {known} were its forerunner's")
        assert cached >= known - 1
        known = prompt
