"""Chat completions on the wire: what a request looks like, what the pieces of an answer mean. No I/O.

Source: OpenAI API reference, "Chat" and "Chat completion chunk object"; llama-server and SGLang speak the same.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from voice.engines import ContextOverflow, EngineError, Unfit
from voice.events import LlmEvent, Message, Prompt, TextDelta, ToolCall, Usage

MAX_CALLS = 16
ARGUMENT_CHARS = 64 * 1024

Finish = Literal["stop", "length", "tool_calls", "abort"]
_FINISH: dict[str, Finish] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "abort": "abort",
}
_TOO_LONG = re.compile(r"context (length|size|window)|maximum context|exceeds? the (available|maximum|model)", re.I)
_TOO_LONG_KINDS = {"context_length_exceeded", "exceed_context_size_error"}


NEWER = {"max_tokens": "max_completion_tokens"}
_NEEDED = {"model", "messages", "stream", "tools", "tool_choice", "json_schema", "rid", *NEWER.values()}
_NAMED = r"""(?x) (?<=['"`]) {0} (?=\\?['"`]) | (?<!\w) (?=\w+_) {0} (?!\w)"""
"""A field's name where it can be nothing else: in quotation marks, or with an underscore in it."""


class Garbled(Exception):
    """The server sent something that is not part of a chat completion."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Error(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: int | str | None = None


class _Parameter(msgspec.Struct):
    param: str | None = None


class _Detail(msgspec.Struct):
    loc: list[str | int] = []


class _Complaint(msgspec.Struct):
    """The same, for the fields it names: one as OpenAI has it, or a list as pydantic has it."""

    error: _Parameter | None = None
    detail: list[_Detail] | None = None


class _Speculation(msgspec.Struct):
    spec_accept_length: float = 0.0
    spec_accept_rate: float = 0.0


class _Sglang(msgspec.Struct):
    spec_tokens_details: _Speculation | list[_Speculation] | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    sglext: _Sglang | None = None
    error: _Error | None = None


class _Refusal(msgspec.Struct):
    """An error body: nested as OpenAI has it, or flat as SGLang has it."""

    error: _Error | None = None
    message: str | None = None
    type: str | None = None
    code: int | str | None = None


def request_body(prompt: Prompt) -> dict[str, object]:
    """The request for a streamed answer, without the model's name.

    Tools may be flat as the Realtime API has them, or nested as the chat API has them.
    """
    body: dict[str, object] = {
        "messages": [_message(message) for message in prompt.messages],
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.opening:
        body["messages"] = [*map(_message, prompt.messages), _message(Message("assistant", prompt.opening))]
    if prompt.tools:
        body["tools"] = [nested(tool) for tool in prompt.tools]
        choice = prompt.tool_choice
        body["tool_choice"] = choice if isinstance(choice, str) else nested(choice)
    return body


def nested(tool: Mapping[str, object]) -> dict[str, object]:
    """A tool, or a choice of one, in the form of the chat API: `{"type": "function", "function": {...}}`."""
    if "function" in tool:
        return dict(tool)
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _message(message: Message) -> dict[str, object]:
    plain: dict[str, object] = {"role": message.role, "content": message.text}
    if message.role == "tool":
        plain["tool_call_id"] = message.call_id
    if message.calls:
        plain["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    return plain


def trouble(title: str, status: int, content: bytes) -> EngineError:
    """The error for an answer other than 200. It repeats nothing of the body but a short machine-readable kind."""
    try:
        refusal = msgspec.json.decode(content, type=_Refusal)
    except msgspec.DecodeError:
        refusal = _Refusal()
    detail = refusal.error or _Error(refusal.message, refusal.type, refusal.code)
    return _trouble(title, status, detail)


def _trouble(title: str, status: int, detail: _Error) -> EngineError:
    kinds = {str(detail.code), str(detail.type)}
    if kinds & _TOO_LONG_KINDS or (status in (400, 413) and _TOO_LONG.search(detail.message or "")):
        return ContextOverflow(f"the conversation is too long for the context window of {title}; shorten it")
    kind = next((kind for kind in kinds if re.fullmatch(r"[A-Za-z_]{3,64}", kind) and kind != "None"), "")
    reason = f"{status}, {kind}" if kind else f"{status}"
    match status:
        case 401 | 403:
            return EngineError(f"{title} refused the key ({reason}); check llm.key")
        case 404:
            return EngineError(f"{title} knows no such model or route ({reason}); check llm.url and llm.model")
        case 429 | 503:
            return EngineError(f"{title} is overloaded or still loading ({reason}); try again in a moment")
        case _ if status >= 500:
            return EngineError(f"{title} failed ({reason}); see its log, and try again")
        case _:
            kind_of_error = Unfit if status in (400, 413, 422) else EngineError
            return kind_of_error(f"{title} refused the request ({reason}); check llm.model and the session's tools")


def refused_field(status: int, content: bytes, body: Mapping[str, object]) -> str:
    """The field of a request that a server says it does not take and the answer can do without; or empty."""
    if status not in (400, 422) or isinstance(trouble("", status, content), ContextOverflow):
        return ""
    try:
        complaint = msgspec.json.decode(content, type=_Complaint)
    except msgspec.DecodeError:
        complaint = _Complaint()
    if complaint.error and complaint.error.param:
        named = {complaint.error.param}
    elif complaint.detail:
        named = {str(part) for detail in complaint.detail for part in detail.loc}
    else:
        named = {name for name in body if re.search(_NAMED.format(re.escape(name)), content.decode(errors="replace"))}
    found = [name for name in body if name in named and name not in _NEEDED]
    if "max_tokens" in found and NEWER["max_tokens"].encode() not in content:
        found.remove("max_tokens")
    return found[0] if found else ""


def without(body: Mapping[str, object], fields: Collection[str]) -> dict[str, object]:
    """The request without these fields, or with what replaces them."""
    kept = {name: value for name, value in body.items() if name not in fields}
    return kept | {NEWER[name]: body[name] for name in fields if name in NEWER and name in body}


@dataclass
class _Draft:
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class Answer:
    """Puts the pieces of one streamed answer together.

    Attributes:
        title: of the engine, for error messages.
        begun: the model has produced something.
        finish: why it ended; empty until the server said so.
        done: the server will send nothing more.
    """

    title: str
    begun: bool = False
    finish: Finish | Literal[""] = ""
    done: bool = False
    _drafts: dict[int, _Draft] = field(default_factory=dict)
    _usage: _Usage = field(default_factory=_Usage)
    _speculation: _Speculation = field(default_factory=_Speculation)

    def feed(self, data: str) -> list[LlmEvent]:
        """What one server-sent event adds to the answer's text.

        Raises:
            Garbled: it is not a chat completion chunk.
            EngineError: the server reports an error.
        """
        if data == "[DONE]":
            self.done = True
            return []
        try:
            chunk = msgspec.json.decode(data, type=_Chunk)
        except msgspec.DecodeError as error:
            raise Garbled from error
        if chunk.error:
            code = chunk.error.code
            raise _trouble(self.title, code if isinstance(code, int) else 500, chunk.error)
        self._usage = chunk.usage or self._usage
        if chunk.sglext and isinstance(chunk.sglext.spec_tokens_details, _Speculation):
            self._speculation = chunk.sglext.spec_tokens_details
        events: list[LlmEvent] = []
        for choice in chunk.choices[:1]:
            delta = choice.delta or _Delta()
            if delta.content:
                self.begun = True
                events.append(TextDelta(delta.content))
            for call in delta.tool_calls or ():
                self.begun = True
                self._draft(call)
            if choice.finish_reason:
                self.finish = _FINISH.get(choice.finish_reason, "stop")
        return events

    def _draft(self, call: _Call) -> None:
        index = call.index if call.index is not None else max(len(self._drafts) - 1, 0)
        draft = self._drafts.setdefault(index, _Draft())
        function = call.function or _Function()
        draft.call_id = draft.call_id or call.id or ""
        draft.name = draft.name or function.name or ""
        draft.arguments += function.arguments or ""
        if len(self._drafts) > MAX_CALLS or len(draft.arguments) > ARGUMENT_CHARS:
            raise Garbled

    def end(self) -> list[LlmEvent]:
        """The complete tool calls, then the usage."""
        calls = [
            ToolCall(draft.call_id or f"call_{index}", draft.name, draft.arguments or "{}")
            for index, draft in sorted(self._drafts.items())
        ]
        details = self._usage.prompt_tokens_details
        usage = Usage(
            prompt=self._usage.prompt_tokens,
            cached=details.cached_tokens or 0 if details else 0,
            completion=self._usage.completion_tokens,
            finish="tool_calls" if calls and self.finish == "stop" else self.finish or "stop",
            accept_length=self._speculation.spec_accept_length,
            accept_rate=self._speculation.spec_accept_rate,
        )
        return [*calls, usage]
