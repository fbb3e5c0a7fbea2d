"""The HTTP language-model engines against a server that misbehaves on purpose, over real sockets."""

import socket
from dataclasses import replace

import anyio
import pytest
from anyio.abc import SocketStream

from tests.chat_server import (
    DONE,
    GOOD,
    PROMPT,
    REQUEST,
    SECRET,
    SSE,
    Scene,
    Server,
    answer,
    ask,
    chunk,
    delta,
    engine,
    event,
    setup,
    silence,
    then_drop,
    then_silence,
    usage,
)
from voice.engines import ContextOverflow, EngineError, Unfit
from voice.engines.chat import EVENT_BYTES, ChatLlm
from voice.events import Message, Priority, Prompt, TextDelta, ToolCall, Usage

pytestmark = pytest.mark.anyio

# Good answers -----------------------------------------------------------------------------------------------


async def test_an_answer_is_streamed_with_its_usage(server: Server) -> None:
    async with engine(server) as llm:
        assert await ask(llm) == [TextDelta("Hel"), TextDelta("lo."), Usage(9, 4, 2, "stop")]
        assert llm.context == 4096
    headers, body = server.chats[0]
    assert headers["authorization"] == "Bearer sesame"
    assert body == {
        "model": "first",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SECRET}],
        "max_tokens": 20,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"enable_thinking": False},
    }


async def test_answers_share_a_connection(server: Server) -> None:
    async with engine(server) as llm:
        for _ in range(3):
            await ask(llm)
    assert server.connections == 1


@pytest.mark.parametrize("url_end", ["/", "/v1", "/v1/"])
async def test_the_url_may_end_as_other_tools_have_it(server: Server, url_end: str) -> None:
    server.url += url_end
    async with engine(server) as llm:
        assert len(await ask(llm)) == 3


async def test_the_finish_and_missing_usage(server: Server) -> None:
    server.scenes = [SSE + delta(content="a") + delta("length") + DONE]
    async with engine(server, model="second") as llm:
        assert await ask(llm) == [TextDelta("a"), Usage(finish="length")]
    assert server.chats[0][1]["model"] == "second"


async def test_tool_calls_are_assembled_from_their_pieces(server: Server) -> None:
    def piece(index: int, **fields: object) -> bytes:
        return delta(tool_calls=[{"index": index, **fields}])

    server.scenes = [
        SSE
        + piece(0, id="c1", function={"name": "look", "arguments": ""})
        + piece(0, function={"arguments": '{"at":'})
        + piece(0, function={"arguments": ' "sky"}'})
        + piece(1, id="c2", function={"name": "wait"})
        + delta("tool_calls")
        + usage()
        + DONE
    ]
    tool = {"type": "function", "name": "look", "description": "d", "parameters": {"type": "object"}}
    history = (
        *PROMPT.messages,
        Message("assistant", "", calls=(ToolCall("c0", "look", "{}"),)),
        Message("tool", "dark", call_id="c0"),
    )
    prompt = Prompt(history, tools=(tool,), tool_choice={"type": "function", "name": "look"})
    async with engine(server) as llm:
        assert await ask(llm, prompt) == [
            ToolCall("c1", "look", '{"at": "sky"}'),
            ToolCall("c2", "wait", "{}"),
            Usage(9, 4, 2, "tool_calls"),
        ]
    body = server.chats[0][1]
    function = {"name": "look", "description": "d", "parameters": {"type": "object"}}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    called = {"id": "c0", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    assert body["messages"][2] == {"role": "assistant", "content": "", "tool_calls": [called]}
    assert body["messages"][3] == {"role": "tool", "content": "dark", "tool_call_id": "c0"}


# Servers that are not there, or not yet ---------------------------------------------------------------------


LOADING = answer(503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}})


async def test_a_loading_server_is_asked_again(server: Server) -> None:
    server.scenes = [LOADING, GOOD]
    async with engine(server) as llm:
        assert len(await ask(llm)) == 3
    assert len(server.chats) == 2


async def test_a_server_that_loads_for_ever_is_given_up(server: Server) -> None:
    server.scenes = [LOADING]
    async with engine(server) as llm:
        with pytest.raises(EngineError, match="still loading"):
            await ask(llm)


async def test_a_kept_connection_that_the_server_dropped_is_replaced(server: Server) -> None:
    server.scenes = [GOOD, then_drop(b""), GOOD]
    async with engine(server) as llm:
        await ask(llm)
        assert len(await ask(llm)) == 3


async def test_a_server_that_drops_every_request_is_given_up(server: Server) -> None:
    server.scenes = [then_drop(b"")]
    async with engine(server) as llm:
        with pytest.raises(EngineError, match="the language model server"):
            await ask(llm)
    assert len(server.chats) == 2


@pytest.fixture
def quiet_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


async def test_a_server_may_come_later(quiet_port: int, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.url = f"http://127.0.0.1:{quiet_port}"
    async with engine(server, context=777) as llm:
        assert "no word yet" in caplog.text
        assert llm.context == 777
        with pytest.raises(EngineError, match=r"cannot be reached; check that it runs and that llm\.url"):
            await ask(llm)
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=quiet_port)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, server.handle)
            assert len(await ask(llm)) == 3
            tasks.cancel_scope.cancel()
        assert llm.context == 4096


@pytest.mark.parametrize("url", ["", "localhost:30000"])
def test_a_missing_url_is_named(url: str) -> None:
    with pytest.raises(EngineError, match=r"needs llm\.url"):
        ChatLlm(setup(url))


# Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (500, {"error": {"message": SECRET, "type": "server_error"}}, r"failed \(500, server_error\)"),
        (502, b"<html>" + SECRET.encode(), r"failed \(502\)"),
        (401, {"error": {"message": SECRET, "code": "invalid_api_key"}}, r"refused the key .*check llm\.key"),
        (404, {"error": {"message": SECRET, "code": "model_not_found"}}, r"check llm\.url and llm\.model"),
        (422, {"detail": [{"input": SECRET}]}, r"refused the request \(422\)"),
        (429, {"error": {"message": SECRET, "code": "rate_limit_exceeded"}}, "overloaded"),
        (200, {"choices": []}, "not a chat completion stream"),
    ],
)
async def test_a_refusal_names_reason_and_remedy_but_no_text(
    server: Server, status: int, body: object, says: str
) -> None:
    server.scenes = [answer(status, body)]
    async with engine(server) as llm:
        with pytest.raises(EngineError, match=says) as caught:
            await ask(llm)
    assert SECRET not in str(caught.value)
    assert not isinstance(caught.value, ContextOverflow)
    assert len(server.chats) == 1


LLAMA_TOO_LONG = "request (5031 tokens) exceeds the available context size (2048 tokens), try increasing it"
SGLANG_TOO_LONG = "The input (20031 tokens) is longer than the model's context length (8192 tokens)."
SGLANG_TOO_MANY = "Requested token count exceeds the model's maximum context length of 8192 tokens."


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 400, "message": LLAMA_TOO_LONG, "type": "exceed_context_size_error"}},
        {"object": "error", "message": SGLANG_TOO_LONG, "type": "BadRequestError", "code": 400},
        {"object": "error", "message": SGLANG_TOO_MANY, "type": "BadRequestError", "code": 400},
        {"error": {"message": "Too long.", "type": "invalid_request_error", "code": "context_length_exceeded"}},
    ],
)
async def test_a_prompt_that_is_too_long_is_told_apart(server: Server, body: object) -> None:
    server.scenes = [answer(400, body)]
    async with engine(server) as llm:
        with pytest.raises(ContextOverflow, match="too long for the context window"):
            await ask(llm)


def refusal(field: str, advice: str = "") -> bytes:
    message = f"Unsupported parameter: '{field}' is not supported with this model.{advice}"
    return answer(400, {"error": {"message": message, "type": "invalid_request_error", "param": field}})


NEWER = " Use 'max_completion_tokens' instead."
LIST = [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "input": {"temperature": 0.5}}]


@pytest.mark.parametrize(
    ("scene", "gone", "come"),
    [
        (refusal("max_tokens", NEWER), "max_tokens", {"max_completion_tokens": 20}),
        (refusal("temperature"), "temperature", {}),
        (refusal("top_p"), "top_p", {}),
        (answer(422, {"detail": LIST}), "stream_options", {}),
        (answer(400, {"message": "Unrecognized request argument: stream_options"}), "stream_options", {}),
        (answer(400, b'[{"message": "Unknown name \\"stop\\": Cannot find field."}]'), "stop", {}),
    ],
)
async def test_a_server_is_asked_without_what_it_refuses_from_then_on(
    server: Server, scene: bytes, gone: str, come: dict[str, object]
) -> None:
    server.scenes = [scene, GOOD]
    async with engine(server, stop=("User:",), sampling={"top_p": 0.9}) as llm:
        assert len(await ask(llm)) == len(await ask(llm)) == 3
    (_, first), *later = server.chats
    assert first["stop"] == ["User:"]
    assert first["top_p"] == 0.9
    assert len(later) == 2
    for _, body in later:
        assert body == {name: value for name, value in first.items() if name != gone} | come


async def test_a_server_that_refuses_several_fields_names_them_one_by_one(server: Server) -> None:
    server.scenes = [refusal("chat_template_kwargs"), refusal("max_tokens", NEWER), refusal("temperature"), GOOD]
    async with engine(server) as llm:
        assert len(await ask(llm)) == 3
        assert len(await ask(llm)) == 3
    assert len(server.chats) == 5
    assert set(server.chats[-1][1]) == {"model", "messages", "max_completion_tokens", "stream", "stream_options"}


@pytest.mark.parametrize("field", ["messages", "tools", "max_tokens", "model"])
async def test_what_an_answer_needs_is_not_left_out(server: Server, field: str) -> None:
    server.scenes = [refusal(field), GOOD]
    async with engine(server) as llm:
        with pytest.raises(Unfit, match="refused the request"):
            await ask(llm)
        assert len(await ask(llm)) == 3
    assert server.chats[0][1] == server.chats[1][1]


async def test_a_prompt_too_long_is_not_taken_for_a_field_too_many(server: Server) -> None:
    message = "'max_tokens' or 'max_completion_tokens' is too large. This model's maximum context length is 99 tokens."
    server.scenes = [answer(400, {"error": {"message": message, "param": "max_tokens"}})]
    async with engine(server) as llm:
        with pytest.raises(ContextOverflow):
            await ask(llm)
    assert len(server.chats) == 1


async def test_an_answer_may_go_on_from_its_opening(server: Server) -> None:
    async with engine(server) as llm:
        await ask(llm, replace(PROMPT, opening="Well,"))
    body = server.chats[0][1]
    assert body["messages"][-1] == {"role": "assistant", "content": "Well,"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


# Streams that go wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scene", "says"),
    [
        (silence, r"sent nothing for 0\.4 s"),
        (then_silence(SSE), r"sent nothing for 0\.4 s"),
        (then_silence(SSE, chunk(": ping\n\n"), delta(role="assistant")), r"sent nothing for 0\.4 s"),
        (then_silence(answer(500, b"x")[:-1]), "failed"),
        (SSE + chunk("data: {nonsense\n\n"), "not a chat completion stream"),
        (SSE + chunk('data: {"choices": 7}\n\n'), "not a chat completion stream"),
        (then_silence(SSE, chunk(b"data: " + b"x" * (EVENT_BYTES + 1))), "not a chat completion stream"),
        (SSE + b"no chunk size\r\n", "broke off"),
        (SSE + DONE, "broke off"),
        (answer(200, b"data: {}\n\n", "text/event-stream"), "broke off"),
    ],
)
async def test_no_answer_at_all(server: Server, scene: bytes | Scene, says: str) -> None:
    server.scenes = [scene]
    async with engine(server) as llm:
        with pytest.raises(EngineError, match=says):
            await ask(llm)
        server.scenes = [GOOD]
        assert len(await ask(llm)) == 3


@pytest.mark.parametrize(
    ("scene", "says"),
    [
        (then_silence(SSE, delta(content="Hel")), r"sent nothing for 0\.4 s"),
        (then_drop(SSE, delta(content="Hel")), "broke off"),
        (SSE + delta(content="Hel") + chunk("data: ]\n\n"), "not a chat completion stream"),
        (SSE + delta(content="Hel") + DONE, "broke off"),
        (SSE + delta(content="Hel") + event({"error": {"message": SECRET, "code": 500}}), "failed"),
    ],
)
async def test_half_an_answer_is_delivered_and_not_repeated(server: Server, scene: bytes | Scene, says: str) -> None:
    server.scenes = [scene]
    async with engine(server) as llm, llm.stream(PROMPT, request=REQUEST, priority=Priority.FINAL) as events:
        assert await anext(events) == TextDelta("Hel")
        with pytest.raises(EngineError, match=says) as caught:
            await anext(events)
    assert SECRET not in str(caught.value)
    assert len(server.chats) == 1


async def test_too_many_tool_calls_are_refused(server: Server) -> None:
    calls = [{"index": index, "function": {"name": "f"}} for index in range(100)]
    server.scenes = [SSE + delta(tool_calls=calls) + delta("tool_calls") + DONE]
    async with engine(server) as llm:
        with pytest.raises(EngineError, match="not a chat completion stream"):
            await ask(llm)


# Leaving ----------------------------------------------------------------------------------------------------


async def test_leaving_the_block_closes_the_connection(server: Server) -> None:
    server.scenes = [then_silence(SSE, delta(content="Hel"))]
    async with engine(server, stall_seconds=60.0) as llm:
        async with llm.stream(PROMPT, request=REQUEST, priority=Priority.FINAL) as events:
            assert await anext(events) == TextDelta("Hel")
        await server.gone.wait()


@pytest.mark.parametrize("scene", [silence, then_silence(SSE), then_silence(SSE, delta(content="Hel"))])
async def test_cancelling_closes_the_connection(server: Server, scene: Scene) -> None:
    reached = anyio.Event()

    async def play(stream: SocketStream) -> None:
        reached.set()
        await scene(stream)

    server.scenes = [play]
    async with engine(server, first_token_seconds=60.0, stall_seconds=60.0) as llm:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, llm)
            await reached.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await server.gone.wait()
        server.scenes = [GOOD]
        assert len(await ask(llm)) == 3


async def test_a_server_that_may_bill_is_asked_nothing_in_advance(server: Server) -> None:
    async with engine(server) as llm:
        assert await llm.prefill(PROMPT, request=REQUEST) == Usage()
    assert not server.chats
