"""Loads the configuration: file, environment, command line; the later wins, every mistake is named with its origin."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from voice.access import is_loopback
from voice.config import Config

PREFIX = "REJOINDER__"
FILE_VARIABLE = "REJOINDER_CONFIG"
FILE_HERE = "rejoinder.toml"
SECRETS = (
    "auth.keys", "auth.secret", "captions.publish_keys", "captions.read_keys", "llm.key", "llm.fallback.key",
    "llm.quick.key", "webrtc.turn_password",
)  # fmt: skip

Key = tuple[str, ...]


class ConfigError(Exception):
    """A setting is unknown, unreadable or out of range; the message names it, its origin, and what is expected."""


def load(file: Path | None, env: Mapping[str, str], sets: Iterable[str]) -> tuple[Config, dict[str, str]]:
    """Put the configuration together.

    Args:
        file: TOML file; None: the one that REJOINDER_CONFIG names, else ./rejoinder.toml if there is one.
        env: environment; `REJOINDER__SECTION__KEY` sets a key.
        sets: "section.key=value" from the command line.

    Returns:
        The configuration, and for each key ("section.key") where its value came from.

    Raises:
        ConfigError: the first mistake found.
    """
    leaves = dict(_leaves(Config))
    values: dict[Key, Any] = {}
    origins: dict[Key, str] = {}
    for key, value, origin, literal in _given(file, env, sets, leaves):
        values[key] = _convert(key, value, origin, literal, leaves)
        origins[key] = origin
    tree: dict[str, Any] = {}
    for key, value in [*_default_entries(leaves), *values.items()]:
        branch = tree
        for name in key[:-1]:
            branch = branch.setdefault(name, {})
        branch[key[-1]] = value
    config = msgspec.convert(tree, Config)
    return config, {dotted(key): origins.get(key, "default") for key, _ in flat(config)}


def check(config: Config) -> None:
    """Refuse a configuration that would let anyone in by accident.

    Raises:
        ConfigError: the server would be open to other machines without keys, or asks for keys it has none of.
    """
    auth, host = config.auth, config.server.host
    if auth.keys or auth.mode == "none":
        return
    if auth.mode == "keys":
        raise ConfigError('auth.mode = "keys", but auth.keys is empty; give at least one key')
    if not is_loopback(host):
        raise ConfigError(
            f'server.host = "{host}" is open to other machines, but auth.keys is empty; give keys, or say '
            'auth.mode = "none" to let everyone in'
        )


def render(config: Config, origins: Mapping[str, str]) -> str:
    """The configuration as TOML, each value with where it came from; secrets are masked."""
    lines: list[str] = []
    section: Key = ()
    for key, value in flat(config):
        if key[:-1] != section:
            section = key[:-1]
            lines += ["", f"[{dotted(section)}]"]
        shown = _masked(value) if dotted(key) in SECRETS else value
        lines.append(f"{_bare(key[-1])} = {_toml(shown)}  # {origins.get(dotted(key), 'default')}")
    return "\n".join(lines[1:]) + "\n"


def flat(config: msgspec.Struct, at: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every key of a configuration with its value; tables of free names (aliases) come name by name."""
    for name in config.__struct_fields__:
        value = getattr(config, name)
        if isinstance(value, msgspec.Struct):
            yield from flat(value, (*at, name))
        elif isinstance(value, dict) and value:
            yield from (((*at, name, entry), item) for entry, item in value.items())
        else:
            yield (*at, name), value


def dotted(key: Key) -> str:
    """A key as one writes it: section.key."""
    return ".".join(_bare(name) for name in key)


def _leaves(struct: type[msgspec.Struct], at: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every key of a struct type with its type; a table of free names is one key."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _leaves(field.type, (*at, field.name))
        else:
            yield (*at, field.name), field.type


def _default_entries(leaves: Mapping[Key, Any]) -> Iterator[tuple[Key, Any]]:
    """Entries of the tables of free names: what the user writes is added to them."""
    return ((key, value) for key, value in flat(Config()) if key not in leaves)


def _given(
    file: Path | None, env: Mapping[str, str], sets: Iterable[str], leaves: Mapping[Key, Any]
) -> Iterator[tuple[Key, Any, str, bool]]:
    """All (key, value, origin, whether the value is a text still to be parsed) that the user wrote, least first."""
    if path := file or _find(env):
        for key, value in _walk(_parse(path), str(path), leaves):
            yield key, value, str(path), False
    for name in sorted(env):
        if name.startswith(PREFIX):
            names = name.removeprefix(PREFIX).lower().split("__")
            yield from _from_text(names, env[name], name, leaves)
    for item in sets:
        left, equals, text = item.partition("=")
        if not equals or not left.strip():
            raise ConfigError(f'--set {item}: write it as section.key=value, for instance --set "server.port=9000"')
        yield from _from_text(left.strip().split("."), text, "--set", leaves)


def _find(env: Mapping[str, str]) -> Path | None:
    if env.get(FILE_VARIABLE):
        return Path(env[FILE_VARIABLE])
    return Path(FILE_HERE) if Path(FILE_HERE).is_file() else None


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(
            f"{path}: cannot read the configuration file ({reason}); correct --config or {FILE_VARIABLE}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _walk(tree: dict[str, Any], origin: str, leaves: Mapping[Key, Any], at: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Leaves of a parsed file; tables are entered where the configuration has sections or free names."""
    for name, value in tree.items():
        key = (*at, name)
        section = any(leaf[: len(key)] == key and len(leaf) > len(key) for leaf in leaves)
        if section and not isinstance(value, dict):
            raise ConfigError(f"{origin}: {dotted(key)} = {_toml(value)}: this is a section; write [{dotted(key)}]")
        if section or (get_origin(leaves.get(key)) is dict and isinstance(value, dict)):
            yield from _walk(value, origin, leaves, key)
        else:
            yield key, value


def _from_text(
    names: list[str], text: str, origin: str, leaves: Mapping[Key, Any]
) -> Iterator[tuple[Key, Any, str, bool]]:
    """One value from the environment or the command line; names below a table of free names may hold dots."""
    key = tuple(names)
    for depth in range(1, len(names)):
        if get_origin(leaves.get(key[:depth])) is dict:
            key = (*key[:depth], ".".join(key[depth:]).strip("\"'"))
            break
    if get_origin(leaves.get(key)) is dict and isinstance(table := _from_toml(text), dict):
        yield from ((inner, value, origin, False) for inner, value in _walk(table, origin, leaves, key))
    else:
        yield key, text, origin, True


def _from_toml(text: str) -> Any:
    """A text as a TOML value, or as it stands if it is none."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _convert(key: Key, value: Any, origin: str, literal: bool, leaves: Mapping[Key, Any]) -> Any:
    """A value of the key's type, or the error that explains why not."""
    kind = leaves.get(key)
    if kind is None and get_origin(table := leaves.get(key[:-1])) is dict:
        kind = get_args(table)[1]
    if kind is None and any(leaf[: len(key)] == key for leaf in leaves):
        raise ConfigError(f"{dotted(key)} (from {origin}) is a section; set one of the keys in it")
    if kind is None:
        raise ConfigError(_unknown(key, origin, leaves))
    readings = [value]
    if literal:
        readings = [_from_toml(value), value]
        if get_origin(kind) is tuple:
            readings.append([part.strip() for part in value.split(",") if part.strip()])
    reasons = []
    for reading in readings:
        try:
            return msgspec.convert(reading, kind)
        except msgspec.ValidationError as error:
            reasons.append(str(error))
    shown = "(not shown)" if dotted(key) in SECRETS else _toml(readings[0])
    raise ConfigError(f"{dotted(key)} = {shown} (from {origin}): {_expected(kind, reasons[0])}")


def _expected(kind: Any, reason: str) -> str:
    if get_origin(kind) is Literal:
        return "expected one of " + ", ".join(json.dumps(choice) for choice in get_args(kind))
    return reason[:1].lower() + reason[1:].replace("`", "").replace("object", "table")


def _unknown(key: Key, origin: str, leaves: Mapping[Key, Any]) -> str:
    written = dotted(key)
    sections = {dotted(leaf[:depth]) for leaf in leaves for depth in range(1, len(leaf))}
    valid = sorted({dotted(leaf) for leaf in leaves} | sections)
    close = get_close_matches(written, valid, n=1) or [name for name in valid if name.endswith(f".{key[-1]}")][:1]
    hint = f'did you mean "{close[0]}"?' if close else f"sections: {', '.join(sorted(sections))}"
    return f'unknown setting "{written}" (from {origin}); {hint}'


def _masked(value: object) -> object:
    if isinstance(value, tuple):
        return tuple("***" for _ in value)
    return "***" if value else value


def _bare(name: str) -> str:
    return name if name and name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _toml(name)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_bare(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
