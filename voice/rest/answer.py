"""An HTTP answer that is computed while the client waits, and stops when it leaves."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import anyio
import msgspec
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from streams.admission import Admission, Refused
from voice.access import caller_of
from voice.answering import Engines
from voice.config import Config
from voice.engines import EngineError
from voice.quota import OverLimit, Quota
from voice.realtime import refused

UPLOAD_SECONDS = 60.0
STALLED_SECONDS = 30.0
"""A client that takes nothing for so long is let go; one that plays while it reads may be slow."""
EVENTS = "text/event-stream"

Emit = Callable[[bytes], Awaitable[None]]


class Shared(Protocol):
    """What the routes share with the callers."""

    config: Config
    engines: Engines
    files: Admission
    quota: Quota

    def model_names(self) -> tuple[str, ...]: ...

    def voices(self) -> dict[str, str]: ...


class Fault(Exception):
    """The request is not answered as asked; the message is for its sender.

    Attributes:
        headers: that go with the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Job:
    """A request that is understood: `run` does the work and emits the answer, of media type `kind`."""

    kind: str
    run: Callable[[Emit], Awaitable[None]]


def failure(
    message: str, status: int, code: str, headers: Mapping[str, str] | None = None, *, param: str | None = None
) -> JSONResponse:
    """An error as OpenAI's HTTP API shapes it; `param` is the field at fault."""
    return JSONResponse(_error(message, status, code, param), status, headers)


def _error(message: str, status: int, code: str, param: str | None = None) -> dict[str, object]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"type": kind, "code": code, "message": message, "param": param}}


async def told(answer: Awaitable[Response]) -> Response:
    """What is awaited, or what was wrong with the request: a `Fault`, `refused.Refused`, or that it came too slowly."""
    try:
        return await answer
    except Fault as fault:
        return failure(str(fault), fault.status, fault.code, fault.headers)
    except refused.Refused as wrong:
        named = ": ".join(part for part in (wrong.param, str(wrong)) if part)
        return failure(named, 400, wrong.code, param=wrong.param)
    except TimeoutError:
        return failure(f"the request took longer than {UPLOAD_SECONDS:.0f} s", 408, "request_timeout")
    except ClientDisconnect:
        return Response(status_code=400)


async def bounded(request: Request, limit: int) -> AsyncGenerator[bytes]:
    """The body. Raises Fault where it is too large; if its head says so, before any of it is read."""
    size, large = 0, Fault(413, "too_large", f"the request is larger than {limit} bytes; compress it, or send a part")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise large
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise large
        yield chunk


class Answer(Response):
    """Reads a request, does its job, and stops when the client leaves."""

    def __init__(self, gateway: Shared, understand: Callable[[Request], Awaitable[Job]]) -> None:
        super().__init__()
        self._gateway = gateway
        self._understand = understand

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3. What breaks off after it has begun stays incomplete, so that the client can tell."""
        try:
            with self._gateway.files.admit("files"):
                self._gateway.quota.check_files(caller_of(scope).owner)
                with anyio.fail_after(UPLOAD_SECONDS):
                    job = await self._understand(Request(scope, receive))
                reply = _Reply(send, job.kind)
                with anyio.move_on_after(self._gateway.config.limits.session_seconds):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(watch, receive, tasks.cancel_scope)
                        fault = await _attempt(job, reply)
                        if fault is not None:
                            await reply.fail(fault, scope, receive)
                        tasks.cancel_scope.cancel()
        except Refused as full:
            status, code = (503, "draining") if full.reason == "draining" else (429, "rate_limit_exceeded")
            wait = {"Retry-After": str(full.retry_after)}
            await failure(str(full), status, code, wait)(scope, receive, send)
        except Fault as fault:
            await failure(str(fault), fault.status, fault.code, fault.headers)(scope, receive, send)
        except TimeoutError:
            late = f"the request took longer than {UPLOAD_SECONDS:.0f} s to arrive; send less or faster"
            await failure(late, 408, "request_timeout")(scope, receive, send)
        except ClientDisconnect:
            return


class _Reply:
    """The answer on its way; its status is sent with the first of it."""

    def __init__(self, send: Send, kind: str) -> None:
        self._send = send
        self._kind = kind
        self._begun = False

    async def send(self, data: bytes, *, more: bool = True) -> None:
        with anyio.fail_after(STALLED_SECONDS):
            if not self._begun:
                self._begun = True
                headers = [(b"content-type", self._kind.encode())]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def fail(self, fault: Fault, scope: Scope, receive: Receive) -> None:
        if not self._begun:
            await failure(str(fault), fault.status, fault.code, fault.headers)(scope, receive, self._send)
        elif self._kind == EVENTS:
            await self.send(event(_error(str(fault), fault.status, fault.code)), more=False)


async def _attempt(job: Job, reply: _Reply) -> Fault | None:
    """Do the job; why it failed."""
    try:
        await job.run(reply.send)
        await reply.send(b"", more=False)
    except Fault as fault:
        return fault
    except OverLimit as over:
        return Fault(429, "rate_limit_exceeded", str(over), {"Retry-After": str(over.retry_after)})
    except EngineError as error:
        return Fault(503, "engine_failed", str(error))
    except TimeoutError:
        return Fault(408, "request_timeout", f"nothing was read for {STALLED_SECONDS:.0f} s")
    return None


async def watch(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel a scope when the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def event(data: Mapping[str, object]) -> bytes:
    """A server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"
