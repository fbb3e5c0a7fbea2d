"""A whole spoken conversation through the gateway: answered by a real SGLang server, and by the embedded engine."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from streams.audio import resample
from streams.metrics import Prometheus
from tests.live import CONFIG, Caller, Live, clip, said, word_errors
from tests.sglang.servers import Tell
from voice.config import LlmConfig
from voice.events import Priority
from voice.models import Store, needed
from voice.service import open_engines

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("server", ["ngram"], indirect=True)]

CLIPS = ("lj-LJ001-0004.flac", "lj-LJ001-0002.flac")  # neither has a pause that might end the turn
TOOL = {
    "type": "function",
    "name": "hang_up",
    "description": "Ends the call.",
    "parameters": {"type": "object", "properties": {"kindly": {"type": "boolean"}}, "required": ["kindly"]},
}


async def converse(live: Live, llm: LlmConfig, tell: Tell) -> list[str]:
    """Two turns spoken by a human in real time, and a function that must be called; the names of all events."""
    async with live.serving(llm=llm) as place, place.call() as caller:
        await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        for turn, name in enumerate(CLIPS):
            await caller.speak(clip(name), partial(over, caller, turn))
            reply = caller.replies[turn]
            heard = list(caller.seen.utterances.values())[turn].transcript or ""
            assert word_errors(said(name), heard) < 0.15, heard
            assert reply.status in ("completed", "incomplete"), reply.error
            spoken = await live.engines.asr.transcribe(
                resample(reply.audio, 16_000), priority=Priority.FINAL, session="listener"
            )
            assert word_errors(reply.text, spoken.text) < 0.25, (reply.text, spoken.text)
            assert reply.usage is not None
            prompt, cached = reply.usage.input_tokens, reply.usage.input_token_details.cached_tokens
            tell(f"{llm.engine}: a spoken turn's prompt of {prompt} tokens had {cached} cached, {cached / prompt:.0%}")
        call = await caller.ask(
            "Good bye!", tools=[TOOL], tool_choice="required", output_modalities=["text"], max_output_tokens=80
        )
        assert [made.name for made in call.calls] == ["hang_up"]
        assert len(caller.replies) == 3
        assert not caller.seen.errors
        return caller.types()


def over(caller: Caller, turn: int) -> bool:
    return len(caller.replies) > turn and caller.replies[turn].status != "in_progress"


def order(types: list[str]) -> list[str]:
    """The events in order, of an answer's pieces only the first of each kind: how many there are is the model's."""
    kept: list[str] = []
    seen: set[str] = set()
    for kind in types:
        if kind == "response.created":
            seen.clear()
        if not (kind.endswith(".delta") and kind in seen):
            kept.append(kind)
        seen.add(kind)
    return kept


async def test_the_same_conversation_with_either_engine_is_the_same_events(
    server: str, tell: Tell, model_folder: Callable[[str], Path]
) -> None:
    told = []
    embedded = msgspec.structs.replace(CONFIG.llm, max_tokens=16)
    remote = msgspec.structs.replace(embedded, engine="sglang", url=server, model="auto")
    for llm in (remote, embedded):
        config = msgspec.structs.replace(CONFIG, llm=llm)
        for name in needed(config):
            model_folder(name)
        metrics = Prometheus()
        async with open_engines(config, Store(config.models), metrics) as engines:
            told.append(order(await converse(Live(engines, metrics), llm, tell)))
        if llm is remote:
            exported = metrics.render()[0].decode()
            assert "rejoinder_llm_accept_length_count 3.0" in exported
            assert 'rejoinder_llm_tokens_total{kind="cached"}' in exported
    assert told[0] == told[1]
