"""Answers from any OpenAI-compatible server, and the streaming client that all language-model engines share."""

import logging
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Protocol, Self

import anyio
import httpx
import msgspec
from anyio import fail_after, move_on_after

from voice.config import LlmConfig
from voice.engines import EngineError, Setup
from voice.engines.chat_wire import Answer, Garbled, refused_field, request_body, trouble, without
from voice.engines.sse import EventReader, EventTooLong
from voice.events import LlmEvent, Priority, Prompt, Usage

log = logging.getLogger(__name__)

EVENT_BYTES = 1024 * 1024
ERROR_BYTES = 64 * 1024
LOADING_SECONDS = 0.25
"""Pause before asking a server again that is still loading its model."""
DRAIN_SECONDS = 0.25
"""How long the end of a finished answer may take; a connection read to its end is used again."""
KEEPALIVE_SECONDS = 4.0
"""Shorter than the five seconds after which llama-server and uvicorn drop an idle connection."""

PLAINLY: dict[str, object] = {"chat_template_kwargs": {"enable_thinking": False}}
"""A caller does not wait while a model thinks aloud; templates that know no thinking ignore it."""
GO_ON: dict[str, object] = {"continue_final_message": True}
"""The answer's opening is one with what follows (SGLang, vLLM); llama-server needs no telling."""

LIMITS = httpx.Limits(max_connections=256, max_keepalive_connections=32, keepalive_expiry=KEEPALIVE_SECONDS)
RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def read_out(events: AsyncIterator[LlmEvent]) -> Usage:
    """The usage that an answer nobody reads ends with."""
    usage = Usage()
    async for event in events:
        if isinstance(event, Usage):
            usage = event
    return usage


class Ends(Protocol):
    """What can be told that a request has ended by itself."""

    ended: bool


async def noting_end(events: AsyncIterator[LlmEvent], request: Ends) -> AsyncGenerator[LlmEvent, None]:
    """The events; the last one is noted before it is passed on."""
    async for event in events:
        request.ended = isinstance(event, Usage)
        yield event


class Model(msgspec.Struct):
    """One model of a server; `max_model_len` in tokens, where the server tells."""

    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[Model] = []


class ChatClient:
    """Streams `/v1/chat/completions` of one server over connections that are kept and reused."""

    def __init__(
        self,
        title: str,
        url: str,
        key: str,
        config: LlmConfig,
        *,
        remedy: str = "check that it runs and that llm.url points to it",
        child: bool = False,
    ) -> None:
        """A client of the server at `url`, which may end in "/v1" or not.

        Args:
            title: names the engine in messages to clients.
            remedy: what these say where the server cannot be reached.
            child: it is a process of ours on this machine: proxies are none of its business, and closing a
                connection resets it. llama-server notices that with the next thing it writes, else with the one after.
        """
        self.title = title
        self._remedy = remedy
        self._config = config
        self._resources = AsyncExitStack()
        self._refused: set[str] = set()
        """Fields of requests that this server does not take."""
        self.http = httpx.AsyncClient(
            base_url=url.rstrip("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(config.connect_seconds, read=None),
            limits=LIMITS,
            transport=httpx.AsyncHTTPTransport(limits=LIMITS, socket_options=[RESET]) if child else None,
            trust_env=not child,
        )

    async def __aenter__(self) -> Self:
        await self._resources.enter_async_context(self.http)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._resources.aclose()

    async def model(self, name: str) -> Model:
        """What the server says of its model `name`, or of its first one where the name is empty.

        Raises:
            EngineError: not reachable within the connect time, refused, or it serves no model.
        """
        try:
            with fail_after(self._config.connect_seconds):
                response = await self.http.get("/v1/models")
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            raise trouble(self.title, response.status_code, response.content[:ERROR_BYTES])
        try:
            models = msgspec.json.decode(response.content, type=_Models).data
        except msgspec.DecodeError as error:
            raise self._garbled() from error
        for model in models:
            if name in ("", model.id):
                return model
        raise EngineError(f'{self.title} serves no model "{name}"; check llm.model')

    @asynccontextmanager
    async def stream(self, prompt: Prompt, extra: Mapping[str, object]) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        """Stream the answer as `Llm.stream` says; `extra` joins the body. Leaving the block closes the connection.

        A server that cannot be connected to is tried twice; one that answers 503 (still loading) is asked again
        for as long as `connect_seconds`; one that refuses a field of the request is asked without it, from then on.
        Nothing is repeated once a token has arrived.
        """
        body = request_body(prompt) | dict(extra) | self._config.sampling
        if self._config.stop:
            body["stop"] = self._config.stop
        deadline = anyio.current_time() + self._config.first_token_seconds
        response = await self._open(body, deadline)
        try:
            async with aclosing(self._events(response, deadline)) as events:
                yield events
        finally:
            await response.aclose()

    async def _open(self, body: dict[str, object], deadline: float) -> httpx.Response:
        loading_until = anyio.current_time() + self._config.connect_seconds
        fresh, refused = True, set(self._refused)
        while True:
            if self.http.is_closed:
                raise self._unreachable()
            request = self.http.build_request("POST", "/v1/chat/completions", json=without(body, refused))
            try:
                with fail_after(deadline - anyio.current_time()):
                    response = await self.http.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError) as error:
                if not fresh:
                    raise self._unreachable(error) from error
                fresh = False
                continue
            except httpx.HTTPError as error:
                raise self._unreachable(error) from error
            except TimeoutError as error:
                raise self._silent(self._config.first_token_seconds) from error
            if response.status_code == 200:
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    await response.aclose()
                    raise self._garbled()
                self._remember(refused)
                return response
            content = await self._error_body(response)
            if field := refused_field(response.status_code, content, without(body, refused)):
                refused.add(field)
                continue
            if response.status_code != 503 or anyio.current_time() + LOADING_SECONDS > loading_until:
                raise trouble(self.title, response.status_code, content)
            await anyio.sleep(LOADING_SECONDS)

    def _remember(self, refused: set[str]) -> None:
        if new := refused - self._refused:
            self._refused |= new
            log.warning("the server does not take some fields of a request", extra={"fields": sorted(new)})

    async def _error_body(self, response: httpx.Response) -> bytes:
        content = b""
        try:
            with fail_after(self._config.connect_seconds):
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > ERROR_BYTES:
                        break
        except (httpx.HTTPError, TimeoutError):
            log.debug("the error answer broke off")
        finally:
            await response.aclose()
        return content

    async def _events(self, response: httpx.Response, deadline: float) -> AsyncGenerator[LlmEvent, None]:
        answer, reader = Answer(self.title), EventReader(EVENT_BYTES)
        chunks = response.aiter_bytes()
        allowed = self._config.first_token_seconds
        while not answer.done:
            try:
                with fail_after(deadline - anyio.current_time()):
                    chunk = await anext(chunks, b"")
                found = [event for data in reader.feed(chunk) for event in answer.feed(data)]
            except httpx.HTTPError as error:
                raise self._broken() from error
            except TimeoutError as error:
                raise self._silent(allowed) from error
            except (EventTooLong, Garbled) as error:
                raise self._garbled() from error
            for event in found:
                yield event
            if answer.begun:
                allowed = self._config.stall_seconds
                deadline = anyio.current_time() + allowed
            if not chunk:
                break
        if not answer.finish:
            raise self._broken()
        for event in answer.end():
            yield event
        with suppress(httpx.HTTPError), move_on_after(DRAIN_SECONDS):
            async for _ in chunks:
                pass

    def _unreachable(self, error: Exception | None = None) -> EngineError:
        late = isinstance(error, httpx.TimeoutException | TimeoutError)
        reason = "did not answer in time" if late else "cannot be reached"
        return EngineError(f"{self.title} {reason}; {self._remedy}")

    def _silent(self, seconds: float) -> EngineError:
        return EngineError(f"{self.title} sent nothing for {seconds:g} s; it is overloaded or stuck, try again")

    def _broken(self) -> EngineError:
        return EngineError(f"{self.title} broke off in the middle of the answer; try again")

    def _garbled(self) -> EngineError:
        return EngineError(f"{self.title} sent an answer that is not a chat completion stream; check llm.url")


class RemoteModel:
    """A model on a server at `llm.url`, asked for its name and context as soon as the server is there."""

    def __init__(self, title: str, config: LlmConfig) -> None:
        """Raises EngineError where `llm.url` is not set."""
        if not config.url.startswith(("http://", "https://")):
            raise EngineError(f'llm.engine = "{config.engine}" needs llm.url = "http://HOST:PORT", not "{config.url}"')
        self.client = ChatClient(title, config.url, config.key, config)
        self.context = config.context
        self._name = "" if config.model == "auto" else config.model
        self._known = False

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        try:
            await self._learn()
        except EngineError as error:
            log.warning("no word yet from the language model server", extra={"reason": str(error)})
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.__aexit__(*exc)

    async def _learn(self) -> None:
        model = await self.client.model(self._name)
        self._name, self.context, self._known = model.id, model.max_model_len or self.context, True

    @asynccontextmanager
    async def stream(self, prompt: Prompt, extra: Mapping[str, object]) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        """As `ChatClient.stream`, with the model's name."""
        if not self._known:
            try:
                await self._learn()
            except EngineError:
                if not self._name:
                    raise
        async with self.client.stream(prompt, {"model": self._name, **extra}) as events:
            yield events


class ChatLlm:
    """The engine "openai": whatever serves chat completions at `llm.url`. It knows no priorities."""

    name = "openai"

    def __init__(self, setup: Setup) -> None:
        self._remote = RemoteModel("the language model server", setup.config.llm)

    @property
    def context(self) -> int:
        """Tokens, as the server says or else as configured."""
        return self._remote.context

    async def __aenter__(self) -> Self:
        await self._remote.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._remote.__aexit__(*exc)

    @asynccontextmanager
    async def stream(
        self, prompt: Prompt, *, request: str, priority: Priority
    ) -> AsyncIterator[AsyncIterator[LlmEvent]]:
        """See `Llm.stream`."""
        go_on = {**GO_ON, "add_generation_prompt": False} if prompt.opening else {}
        async with self._remote.stream(prompt, PLAINLY | go_on) as events:
            yield events

    async def prefill(self, prompt: Prompt, *, request: str) -> Usage:
        """Nothing: such servers bill what they read, and say nothing of their caches."""
        return Usage()
