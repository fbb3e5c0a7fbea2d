"""The pages: everything in static/, read once, and a list of the routes.

Nothing here is secret, so nobody is asked for a key. A page may load scripts, styles and sounds from this server and
from nowhere else, and talk to this server alone.
"""

import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute

NAMES = {"/": "index.html", "/embed.js": "embed.js"}
"""Path -> file; every other file is at /static/."""
CAPTIONS = "captions.html"
"""The page of every room, at /captions/{room}."""
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""What is served, by suffix; a file of another kind is not."""
NO_FRAMES = ("'none'",)

_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


@dataclass(frozen=True, slots=True)
class File:
    """A file that is served."""

    body: bytes
    kind: str
    tag: str


def folder() -> Path:
    """Where static/ is: in the package where it is installed, beside it in a checkout."""
    here = Path(__file__).parent
    return next((place for place in (here / "static", here.parent / "static") if place.is_dir()), here / "static")


def public(path: str) -> bool:
    """Whether a path is a page or part of one, for everyone to read."""
    return path in NAMES or path == "/docs" or path.startswith(("/static/", "/captions/"))


def router(app: FastAPI, frames: Iterable[str] = NO_FRAMES, place: Path | None = None) -> APIRouter:
    """The routes of the pages.

    Args:
        app: whose routes `/docs` lists.
        frames: pages that may show captions in a frame: sources of the Content-Security-Policy.
        place: folder of the files; None: `folder()`.
    """
    files = _files(place or folder())
    routes = APIRouter(include_in_schema=False)

    def page(request: Request, name: str, frames: Iterable[str] = NO_FRAMES) -> Response:
        if name not in files:
            raise HTTPException(404)
        return _answer(request, files[name], frames)

    async def named(request: Request) -> Response:
        return page(request, NAMES[request.url.path])

    async def static(request: Request, name: str) -> Response:
        return page(request, name)

    async def captions(request: Request, room: str) -> Response:
        return page(request, CAPTIONS, frames)

    async def docs(request: Request) -> Response:
        return _answer(request, _file(_listed(app).encode(), ".html"), NO_FRAMES)

    methods = ["GET", "HEAD"]
    for path in NAMES:
        routes.add_api_route(path, named, methods=methods)
    routes.add_api_route("/static/{name:path}", static, methods=methods)
    routes.add_api_route("/captions/{room}", captions, methods=methods)
    routes.add_api_route("/docs", docs, methods=methods)
    return routes


def policy(host: str, frames: Iterable[str] = NO_FRAMES) -> str:
    """The Content-Security-Policy of a page.

    Args:
        host: name and port the server was called by. Older browsers do not take 'self' to mean its WebSockets.
        frames: who may show the page in a frame.
    """
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"connect-src 'self'{sockets}",
            "media-src 'self' blob:",
            "worker-src 'self' blob:",
            "img-src 'self' data:",
            "font-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {' '.join(frames)}",
        )
    )


def _files(place: Path) -> dict[str, File]:
    paths = [path for path in place.rglob("*") if path.is_file() and path.suffix in TYPES]
    return {path.relative_to(place).as_posix(): _file(path.read_bytes(), path.suffix) for path in paths}


def _file(body: bytes, suffix: str) -> File:
    return File(body, TYPES[suffix], f'"{hashlib.sha256(body).hexdigest()[:24]}"')


def _answer(request: Request, file: File, frames: Iterable[str]) -> Response:
    """The file, or that it has not changed. Pages of other sites may use scripts and styles, not look into pages."""
    headers = {
        "ETag": file.tag,
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if file.kind == TYPES[".html"]:
        headers |= {
            "Content-Security-Policy": policy(request.headers.get("host", ""), frames),
            "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
    else:
        headers |= {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if {file.tag, "*"} & known:
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers | {"Content-Type": file.kind})


def _listed(app: FastAPI) -> str:
    """A page that names every route and says what it does."""
    rows = [
        (method.upper(), path, about.get("description") or about.get("summary", ""))
        for path, methods in app.openapi()["paths"].items()
        for method, about in methods.items()
    ]
    sockets = [route for route in app.routes if isinstance(route, WebSocketRoute) and ":path" not in route.path]
    rows += [("WebSocket", route.path, route.endpoint.__doc__ or "") for route in sockets]
    rows.sort(key=lambda row: row[1])
    lines = (f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    title = f"{html.escape(app.title)} {html.escape(app.version)}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: routes</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="/static/docs.css"><main><h1>{title}</h1><table><thead><tr><th scope="col">Method'
        f'<th scope="col">Path<th scope="col">What</tr></thead><tbody>{"".join(lines)}</tbody></table>'
        '<p>The same for programs, with a key where one is needed: <a href="/openapi.json">/openapi.json</a></p></main>'
        "</html>\n"
    )
