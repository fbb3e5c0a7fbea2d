"""Speculative decoding on a real server: what it accepts is counted, by the server and by us."""

from uuid import uuid4

import httpx
import pytest

from streams.metrics import Prometheus
from tests.sglang.asking import answer, figure
from tests.sglang.servers import Tell
from voice.engines.metered import MeteredLlm
from voice.engines.sglang import SglangLlm
from voice.events import Message, Prompt

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("server", ["ngram", "standalone"], indirect=True)]

COUNT = Prompt((Message("user", f"{uuid4().hex} Say: one two three one two three one two three."),), max_tokens=40)


async def test_what_is_accepted_is_counted(llm: SglangLlm, http: httpx.AsyncClient, tell: Tell) -> None:
    metrics = Prometheus()
    metered = MeteredLlm(llm, metrics)
    for _ in range(2):  # the second time the n-grams are known
        _, usage = await answer(metered, COUNT)
    tell(
        f"{usage.completion} tokens, {usage.accept_length:.2f} a step, {usage.accept_rate:.0%} of the drafted accepted"
    )
    assert 1 <= usage.accept_length <= 4
    assert 0 < usage.accept_rate <= 1
    exported = metrics.render()[0].decode()
    assert "rejoinder_llm_accept_length_count 2.0" in exported
    assert await figure(http, "spec_verify_calls_total") > 0
