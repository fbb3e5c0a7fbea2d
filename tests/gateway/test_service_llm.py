"""What the configuration says of language models becomes one engine, over real sockets."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams.lane import Lane
from tests.chat_server import SSE, Server, answer, ask, delta, running, says, then_silence
from voice.config import Config, LlmConfig, OtherLlm
from voice.engines import EngineError
from voice.events import TextDelta
from voice.models import Store, choose_llm, machine, needed
from voice.service import open_engine

pytestmark = pytest.mark.anyio


def opened(**settings: Any) -> Any:
    config = Config(llm=LlmConfig(**{"engine": "openai", "connect_seconds": 0.4, "first_token_seconds": 5, **settings}))
    return open_engine("llm", config, Store(config.models), Lane("llm", 1, 1))


@pytest.fixture
async def others() -> AsyncIterator[list[Server]]:
    async with running(Server()) as one, running(Server()) as two, running(Server()) as three:
        yield [one, two, three]


def text(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_all_of_it_together(server: Server, others: list[Server]) -> None:
    worker, fallback, quick = others
    server.scenes = [answer(500, {})]
    worker.scenes = [answer(500, {})]
    fallback.scenes = [says("it is fine.")]
    quick.scenes = [then_silence(SSE, *(delta(content=word) for word in ("I ", "think ", "so, ", "too, ", "and ")))]
    async with opened(
        url=server.url,
        key="one",
        workers=(worker.url,),
        sampling={"top_p": 0.5},
        fallback=OtherLlm(engine="openai", url=fallback.url, key="two", model="second"),
        quick=OtherLlm(engine="openai", url=quick.url),
    ) as llm:
        assert text(await ask(llm)) == "I think so, it is fine."
    assert [headers["authorization"] for headers, _ in (*server.chats, *worker.chats)] == ["Bearer one"] * 2
    [(headers, body)] = fallback.chats
    assert headers["authorization"] == "Bearer two"
    assert (body["model"], body["top_p"]) == ("second", 0.5)
    assert "authorization" not in quick.chats[0][0]


async def test_what_fails_meanwhile_comes_out_as_it_is(server: Server) -> None:
    server.scenes = [answer(500, {})]
    with pytest.raises(EngineError, match="failed"):
        async with opened(url=server.url, quick=OtherLlm(engine="openai", url=server.url)) as llm:
            await ask(llm)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "llama", "workers": ("http://127.0.0.1:1",)}, r"llm\.workers"),
        ({"url": "http://127.0.0.1:1", "workers": ("127.0.0.1:2",)}, r"needs llm\.url"),
        ({"url": "http://127.0.0.1:1", "fallback": OtherLlm(engine="openai")}, r"\[llm\.fallback\].*needs llm\.url"),
        ({"url": "http://127.0.0.1:1", "quick": OtherLlm(engine="nix")}, r"\[llm\.quick\].*unknown"),
    ],
)
async def test_a_mistake_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        async with opened(**settings):
            pass


def test_an_embedded_fallbacks_model_is_needed_once() -> None:
    embedded = OtherLlm(engine="llama", model="smollm2-135m")
    remote = LlmConfig(engine="sglang", url="http://127.0.0.1:1")
    plain = needed(Config(llm=remote))
    assert set(needed(Config(llm=remote.other(embedded)))) - set(plain) == {"smollm2-135m"}
    both = LlmConfig(engine="sglang", url="http://127.0.0.1:1", fallback=embedded, quick=embedded)
    assert sorted(needed(Config(llm=both))) == sorted([*plain, "smollm2-135m"])
    anything = LlmConfig(engine="openai", fallback=OtherLlm(engine="llama"))
    assert choose_llm(*machine()) in needed(Config(llm=anything))
