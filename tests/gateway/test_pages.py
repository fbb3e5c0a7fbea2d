"""What is served to browsers, over real sockets: what is there, under which rules, and that there is nothing else."""

import re

import pytest

from tests.live import Live
from voice.config import AuthConfig, CaptionsConfig
from voice.pages import TYPES, folder, policy, public

pytestmark = pytest.mark.anyio

KEYS = AuthConfig(keys=("sesame",))
FILES = sorted(path.relative_to(folder()).as_posix() for path in folder().rglob("*") if path.is_file())
PAGES = ("/", "/docs", "/captions/hall-1", "/static/index.html")
ELSEWHERE = re.compile(r"""(?:src|href|url\(|import\s*\(?|from)\s*=?\s*["'(]?\s*(?:https?:)?//(?!www\.w3\.org/)""")


async def test_pages_need_no_key_and_load_from_here_alone(live: Live) -> None:
    async with live.serving(auth=KEYS) as place:
        for path in PAGES:
            answer = await place.http.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
            assert rules["default-src"] == "'none'"
            assert rules["script-src"] == rules["style-src"] == "'self'"
            assert rules["connect-src"] == f"'self' ws://127.0.0.1:{place.port} wss://127.0.0.1:{place.port}"
            assert rules["base-uri"] == rules["form-action"] == "'none'"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "microphone=(self)" in answer.headers["permissions-policy"]
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", answer.text), f"{path}: inline"
        assert (await place.http.get("/openapi.json")).status_code == 401


async def test_every_file_is_served_as_what_it_is(live: Live) -> None:
    async with live.serving(auth=KEYS) as place:
        for name in FILES:
            answer = await place.http.get(f"/static/{name}")
            assert answer.status_code == 200, f"{name}: its suffix is not in TYPES"
            assert answer.content == (folder() / name).read_bytes()
            assert answer.headers["content-type"] == TYPES[f".{name.rsplit('.', 1)[1]}"]
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.headers["x-content-type-options"] == "nosniff"
        for path, name in (("/", "index.html"), ("/embed.js", "embed.js"), ("/captions/hall-1", "captions.html")):
            assert (await place.http.get(path)).content == (folder() / name).read_bytes()
        element = await place.http.get("/embed.js", headers={"Origin": "https://any.example"})
        assert element.headers["access-control-allow-origin"] == "*"
        assert element.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_a_file_that_is_known_is_not_sent_again(live: Live) -> None:
    async with live.serving() as place:
        for path in ("/", "/embed.js"):
            tag = (await place.http.get(path)).headers["etag"]
            for given, status in ((tag, 304), (f'W/{tag}, "x"', 304), ('"x"', 200), ("", 200), ("*", 304)):
                answer = await place.http.get(path, headers={"If-None-Match": given})
                assert answer.status_code == status
                assert bool(answer.content) == (status == 200)
                assert answer.headers["etag"] == tag
            head = await place.http.head(path)
            assert (head.status_code, head.content) == (200, b"")


async def test_nothing_else_is_served(live: Live) -> None:
    async with live.serving() as place:
        for path in (
            "/static/", "/static/nothing.js", "/static/../voice/app.py", "/static/%2e%2e/pyproject.toml",
            "/static/..%2fpyproject.toml", "/static//etc/passwd", "/static/%00", "/static/app.js%00.html", "/redoc",
            "/captions/", "/captions/a/b", "/embed", "/static/" + "x" * 5000,
        ):  # fmt: skip
            answer = await place.http.get(path)
            assert answer.status_code == 404, path
            assert answer.json()["error"]["type"] == "invalid_request_error"
        assert (await place.http.post("/")).status_code == 405


async def test_who_may_frame_captions(live: Live) -> None:
    captions = CaptionsConfig(frame_ancestors=("'self'", "https://hall.example"))
    async with live.serving(captions=captions) as place:
        shown = (await place.http.get("/captions/hall-1")).headers["content-security-policy"]
        assert shown.endswith("frame-ancestors 'self' https://hall.example")
        for path in ("/", "/docs"):
            assert (await place.http.get(path)).headers["content-security-policy"].endswith("frame-ancestors 'none'")


async def test_docs_lists_the_routes(live: Live) -> None:
    async with live.serving(auth=KEYS) as place:
        text = (await place.http.get("/docs")).text
        for path in ("/v1/realtime", "/v1/realtime/client_secrets", "/v1/audio/speech", "/v1/models", "/metrics"):
            assert f"<td>{path}</td>" in text


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".html", ".js", ".css"))])
def test_pages_name_no_other_host(name: str) -> None:
    found = ELSEWHERE.findall((folder() / name).read_text())
    assert not found, f"{name} loads from elsewhere: {found}"


@pytest.mark.parametrize(
    "host", ["", "a b", "x; script-src *", "evil.example;", "é", "[::1", "a/b", "host:80:90", "a\nb"]
)
def test_the_name_of_the_server_cannot_change_its_rules(host: str) -> None:
    assert "connect-src 'self';" in policy(host)


@pytest.mark.parametrize("host", ["localhost:8800", "127.0.0.1", "[::1]:8800", "voice.example.org"])
def test_sockets_of_the_server_itself(host: str) -> None:
    assert f"connect-src 'self' ws://{host} wss://{host};" in policy(host)


@pytest.mark.parametrize(
    "path", ["/v1/models", "/metrics", "/openapi.json", "/", "/staticx", "//", "/docs/", "/STATIC/x"]
)
def test_what_is_public(path: str) -> None:
    assert public(path) == (path == "/")
