"""ASGI middleware: who is let past, and which answers pages of other sites may read (CORS)."""

import re

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from streams.tap import Tap
from voice.access import CONVERSATION, Access, Denied
from voice.pages import public
from voice.rest.answer import failure

OPEN = ("/healthz", "/readyz")
OWN = "/v1/captions/"
"""Who may read captions is decided by their routes."""

_PLAIN = re.compile(r"[A-Za-z0-9, _-]{1,1000}")


class Guard:
    """Lets nobody past without a right to, but to health checks, to pages, and to what has rules of its own.

    The routes find who asks with `voice.access.caller_of`.

    Args:
        publishers: who may feed a caption room; None: whoever may call.
    """

    def __init__(self, app: ASGIApp, access: Access, tap: Tap, publishers: Access | None = None) -> None:
        self._app = app
        self._access = access
        self._publishers = publishers
        self._tap = tap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or path in OPEN or path.startswith(OWN) or public(path):
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        if scope["type"] == "http" and origin and self._access.may_read(origin):
            send = _readable(send, origin)
        try:
            if scope["type"] == "http" and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                self._access.check_page(headers)
                return await _preflight(headers)(scope, receive, send)
            publishes = path == CONVERSATION and "room" in QueryParams(scope["query_string"])
            access = self._publishers if self._publishers and publishes else self._access
            caller = access.check(path, headers, scope.get("subprotocols", ()))
        except Denied as denied:
            if path.startswith(CONVERSATION):
                self._tap.count("sessions_refused_total", reason=denied.reason)
            refusal = failure(str(denied), denied.status, "access_denied")
            if scope["type"] == "websocket":
                return await WebSocket(scope, receive, send).send_denial_response(refusal)
            return await refusal(scope, receive, send)
        scope.setdefault("state", {})["caller"] = caller
        return await self._app(scope, receive, send)


def _preflight(headers: Headers) -> Response:
    """What a browser asks before it sends a page's request to another site."""
    allowed = {"Access-Control-Allow-Methods": "GET, POST, DELETE", "Access-Control-Max-Age": "600"}
    asked = headers.get("access-control-request-headers", "")
    if _PLAIN.fullmatch(asked):
        allowed["Access-Control-Allow-Headers"] = asked
    return Response(status_code=204, headers=allowed)


def _readable(send: Send, origin: str) -> Send:
    """Adds what lets a page of the origin read the answer."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Location, Retry-After"
            headers.add_vary_header("Origin")
        await send(message)

    return marked
