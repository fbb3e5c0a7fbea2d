"""Function calls that models write as text."""

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.engines import EngineError
from voice.engines.written_calls import forced, with_written_calls, written_calls
from voice.events import LlmEvent, Message, Prompt, TextDelta, ToolCall, Usage

pytestmark = pytest.mark.anyio

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
WAIT = {"type": "function", "function": {"name": "wait"}}
PROMPT = Prompt((Message("user", "Well?"),), tools=(LOOK, WAIT))
CALL = '{"name": "look", "arguments": {"at": "sky"}}'


async def play(pieces: list[str], finish: str = "stop") -> AsyncIterator[LlmEvent]:
    for piece in pieces:
        yield TextDelta(piece)
    yield Usage(5, 0, 3, finish)  # type: ignore[arg-type]


async def heard(pieces: list[str], prompt: Prompt = PROMPT, must: bool = False) -> list[LlmEvent]:
    return [event async for event in with_written_calls(play(pieces), prompt, must=must)]


def plain(events: list[LlmEvent]) -> list[object]:
    return [(event.name, json.loads(event.arguments)) if isinstance(event, ToolCall) else event for event in events]


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"```json\n{CALL}\n```",
        f"```\n{CALL}\n```",
        f"\n {CALL}",
        f"[\n{CALL}\n]",
        '[{"name": "look", "parameters": {"at": "sky"}}]',
        f"{CALL}\nI shall look at the sky.",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_written_call_is_a_call(text: str, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert plain(await heard(pieces)) == [("look", {"at": "sky"}), Usage(5, 0, 3, "tool_calls")]


async def test_several_calls_in_a_row() -> None:
    text = f'{CALL}\n{{"name": "wait", "arguments": {{}}}}'
    assert plain(await heard([text])) == [("look", {"at": "sky"}), ("wait", {}), Usage(5, 0, 3, "tool_calls")]


@given(st.lists(st.text(max_size=8), max_size=8).filter(lambda pieces: not written_calls("".join(pieces), {"look"})))
async def test_other_text_comes_through_whole(pieces: list[str]) -> None:
    *deltas, usage = await heard(pieces)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == "".join(pieces)
    assert usage == Usage(5, 0, 3, "stop")


@pytest.mark.parametrize(
    "text", ['{"name": "fly", "arguments": {}}', '{"name": "look"', '{"name": "look", "arguments": "sky"}', "{}", "[1]"]
)
async def test_what_only_looks_like_a_call_is_text(text: str) -> None:
    assert await heard([text]) == [TextDelta(text), Usage(5, 0, 3, "stop")]


async def test_speech_is_not_held_back() -> None:
    events = with_written_calls(play(["Hel", "lo."]), PROMPT, must=False)
    assert await anext(events) == TextDelta("Hel")
    await events.aclose()


async def test_without_tools_json_is_text() -> None:
    assert await heard([CALL, "!"], Prompt(PROMPT.messages)) == [
        TextDelta(CALL),
        TextDelta("!"),
        Usage(5, 0, 3, "stop"),
    ]


async def test_a_demanded_call_that_does_not_come() -> None:
    with pytest.raises(EngineError, match="max_output_tokens"):
        await heard(['{"name": "lo'], must=True)


async def test_a_demanded_call_may_also_come_as_one() -> None:
    async def events() -> AsyncIterator[LlmEvent]:
        yield ToolCall("call_1", "wait", "{}")
        yield Usage(5, 0, 3, "tool_calls")

    heard = [event async for event in with_written_calls(events(), PROMPT, must=True)]
    assert heard == [ToolCall("call_1", "wait", "{}"), Usage(5, 0, 3, "tool_calls")]


def test_a_demand_becomes_a_schema_and_leaves_the_prefix_alone() -> None:
    assert forced(PROMPT) is None
    for choice, names in (("required", ["look", "wait"]), ({"type": "function", "name": "wait"}, ["wait"])):
        demand = forced(Prompt(PROMPT.messages, tools=PROMPT.tools, tool_choice=choice))
        assert demand is not None
        prompt, extra = demand
        assert prompt.messages[:-1] == PROMPT.messages
        assert not prompt.tools
        schemas = extra["json_schema"]["anyOf"]  # type: ignore[index]
        assert [schema["properties"]["name"]["const"] for schema in schemas] == names


def test_a_demand_for_an_unknown_function() -> None:
    with pytest.raises(EngineError, match="not among the tools"):
        forced(Prompt(PROMPT.messages, tools=PROMPT.tools, tool_choice={"type": "function", "name": "fly"}))
