"""Function calls that a model writes as JSON text, and how to make it write one. Pure.

llama-server treats a choice of a named function as "auto", and lets a model write text for ever before the call that
"required" asks for (llama.cpp issues 26535 and 27217). A forced call is therefore asked for as JSON of a given
schema, which the sampler enforces. SGLang without `--tool-call-parser` makes the model write a JSON list. And small
models that may call write the call as bare or fenced JSON now and then: nothing to be read aloud.
"""

import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace

from voice.engines import Unfit
from voice.engines.chat_wire import nested
from voice.events import LlmEvent, Message, Prompt, TextDelta, ToolCall, Usage

_FENCES = ("```json", "```")
_HELD_CHARS = 64 * 1024


def forced(prompt: Prompt) -> tuple[Prompt, dict[str, object]] | None:
    """The prompt without tools and what to add to the request, where the prompt demands a call; else None."""
    functions = _functions(prompt)
    if isinstance(prompt.tool_choice, Mapping):
        wanted = _name(nested(prompt.tool_choice))
        functions = [function for function in functions if function.get("name") == wanted]
    elif not demanded(prompt):
        return None
    if not functions:
        raise Unfit("tool_choice demands a function that is not among the tools; add it or change tool_choice")
    ask = "Call one of these functions. Answer with its name and arguments in JSON only.\n" + json.dumps(functions)
    messages = (*prompt.messages, Message("system", ask))
    schema = {"anyOf": [_call_schema(function) for function in functions]}
    return replace(prompt, messages=messages, tools=(), tool_choice="auto"), {"json_schema": schema}


def demanded(prompt: Prompt) -> bool:
    """Whether the answer has to be a call."""
    return isinstance(prompt.tool_choice, Mapping) or prompt.tool_choice == "required"


async def with_written_calls(
    events: AsyncIterator[LlmEvent], prompt: Prompt, *, must: bool
) -> AsyncGenerator[LlmEvent, None]:
    """The events, with an answer that is written JSON for a function of the prompt turned into tool calls.

    Raises:
        Unfit: `must` is set and the answer is no complete call.
    """
    names = {str(function.get("name")) for function in _functions(prompt)}
    held, holding, called = "", bool(names), False
    async for event in events:
        match event:
            case TextDelta(text) if holding:
                held += text
                holding = must or (_may_be_call(held) and len(held) < _HELD_CHARS)
                if not holding:
                    yield TextDelta(held)
            case Usage() if holding:
                calls = written_calls(held, names)
                if must and not calls and not called:
                    raise Unfit("the function call did not fit into the tokens allowed; raise max_output_tokens")
                for call in calls:
                    yield call
                if held and not calls:
                    yield TextDelta(held)
                yield replace(event, finish="tool_calls") if calls else event
            case ToolCall():
                called = True
                yield event
            case _:
                yield event


def written_calls(text: str, names: set[str]) -> list[ToolCall]:
    """The calls a text begins with: JSON objects with `name` and `arguments`, bare, fenced or in a list."""
    calls: list[ToolCall] = []
    decoder = json.JSONDecoder()
    rest = _unfenced(text).lstrip("[ \n")
    while rest.startswith("{"):
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError:
            break
        arguments = value.get("arguments", value.get("parameters"))
        if value.get("name") not in names or not isinstance(arguments, dict):
            break
        calls.append(ToolCall(f"call_{secrets.token_hex(8)}", value["name"], json.dumps(arguments)))
        rest = rest[end:].lstrip(", \n")
    return calls


def _may_be_call(text: str) -> bool:
    start = text.strip()
    return _unfenced(start)[:1] in ("", "{", "[") or any(fence.startswith(start) for fence in _FENCES)


def _unfenced(text: str) -> str:
    text = text.strip()
    for fence in _FENCES:
        if text.startswith(fence):
            return text.removeprefix(fence).removesuffix("```").strip()
    return text


def _functions(prompt: Prompt) -> list[Mapping[str, object]]:
    functions = (nested(tool)["function"] for tool in prompt.tools)
    return [function for function in functions if isinstance(function, Mapping)]


def _name(tool: Mapping[str, object]) -> object:
    function = tool.get("function")
    return function.get("name") if isinstance(function, Mapping) else None


def _call_schema(function: Mapping[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {
            "name": {"const": function.get("name")},
            "arguments": function.get("parameters") or {"type": "object", "properties": {}},
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
