"""Answers that go on from a beginning they were given, by a real server."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from streams.lane import Lane
from streams.tap import SILENT
from tests.sglang.asking import answer, ask, engine
from tests.sglang.servers import PLAIN, Tell
from tests.taps import Awaited
from voice.config import Config, LlmConfig
from voice.engines import Setup
from voice.engines.llama import LlamaLlm
from voice.engines.quick import Quick
from voice.engines.sglang import SglangLlm
from voice.events import Message, Prompt, TextDelta, Usage

pytestmark = pytest.mark.anyio


async def test_an_answer_goes_on_from_its_opening_on_what_was_read(llm: SglangLlm, tell: Tell) -> None:
    messages = (
        Message("system", f"{uuid4().hex} Be brief and plain."),
        Message("user", "Say the numbers from one to ten in words."),
    )
    prompt = Prompt(messages, max_tokens=24, temperature=0)
    read = await llm.prefill(prompt, request=uuid4().hex)
    said, usage = await answer(llm, replace(prompt, opening="One, two, three,"))
    tell(f"after 'One, two, three,' comes {said!r}; {usage.cached} of {usage.prompt} tokens cached")
    assert said.strip().lower().startswith("four")
    assert usage.cached >= read.prompt - 1
    assert read.prompt < usage.prompt


@pytest.mark.parametrize("server", [PLAIN], indirect=True)
async def test_the_embedded_model_begins_while_the_server_reads(
    server: str, tap: Awaited, tell: Tell, model_folder: Callable[[str], Path]
) -> None:
    config = LlmConfig(model="smollm2-135m", threads=1, slots=1)
    small = LlamaLlm(Setup(Config(llm=config), model_folder, Lane("llm", 1, 1), SILENT))
    sea = f"{uuid4().hex} " + "You know a lot about the sea and its animals. " * 60
    prompt = Prompt((Message("system", sea), Message("user", "What do whales eat?")), max_tokens=24, temperature=0)
    async with engine(server, tap) as large, small, anyio.create_task_group() as tasks:
        await small.prefill(prompt, request=uuid4().hex)
        (opening, *rest, usage) = await ask(Quick(large, small, tasks), prompt)
    assert isinstance(opening, TextDelta)
    assert isinstance(usage, Usage)
    text = "".join(event.text for event in rest if isinstance(event, TextDelta))
    tell(f"the embedded model begins {opening.text!r}, the server goes on {text!r} on {usage.cached} cached tokens")
    assert opening.text.endswith(" ")
    assert text
    assert 0.9 * usage.prompt < usage.cached < usage.prompt
