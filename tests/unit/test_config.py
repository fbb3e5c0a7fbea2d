"""Loading the configuration: precedence, origins, and errors that name the mistake."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.config import Config
from voice.settings import ConfigError, check, load, render

ROOT = Path(__file__).resolve().parents[2]
Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(text: str) -> Path:
        path = tmp_path / "rejoinder.toml"
        path.write_text(text)
        return path

    return write


def test_default_toml_is_the_defaults_in_full_with_a_comment_each() -> None:
    path = ROOT / "configs" / "default.toml"
    config, origins = load(path, {}, ())
    assert config == Config()
    assert tomllib.loads(path.read_text()).keys() == set(Config.__struct_fields__)
    empty_tables = [key for key, origin in origins.items() if origin == "default"]
    assert empty_tables == ["models.paths", "llm.sampling"]
    section = ""
    for line in path.read_text().splitlines():
        section = line if line.startswith("[") else section
        if " = " in line and not line.startswith("#") and section not in ("[aliases]", "[voices]"):
            assert "  # " in line, f"{section} {line}: no comment"


def test_gpu_toml_is_valid() -> None:
    assert load(ROOT / "configs" / "gpu.toml", {}, ())[0].asr.device == "cuda"


def test_later_wins_and_says_where_from(written: Written) -> None:
    file = written("[vad]\nthreshold = 0.4\nrelease = 0.2\n[server]\nport = 1\n")
    env = {"REJOINDER__VAD__THRESHOLD": "0.6", "REJOINDER__SERVER__PORT": "2", "HOME": "/x"}
    config, origins = load(file, env, ["server.port=3"])
    assert (config.vad.release, config.vad.threshold, config.server.port) == (0.2, 0.6, 3)
    assert origins["vad.release"] == str(file)
    assert origins["vad.threshold"] == "REJOINDER__VAD__THRESHOLD"
    assert origins["server.port"] == "--set"
    assert origins["server.host"] == "default"


def test_finds_the_file(written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {}, ())[0] == Config()
    written("[server]\nport = 1\n")
    assert load(None, {}, ())[0].server.port == 1
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 2\n")
    assert load(None, {"REJOINDER_CONFIG": str(other)}, ())[0].server.port == 2


@pytest.mark.parametrize(
    ("text", "keys"),
    [('["a", "b"]', ("a", "b")), ("a, b", ("a", "b")), ("a", ("a",)), ("[]", ()), ("123", ("123",))],
)
def test_lists_from_the_environment(text: str, keys: tuple[str, ...]) -> None:
    assert load(None, {"REJOINDER__AUTH__KEYS": text}, ())[0].auth.keys == keys


def test_other_language_models_are_sections_of_their_own(written: Written) -> None:
    file = written(
        '[llm]\nengine = "sglang"\nstop = ["User:"]\n[llm.sampling]\ntop_p = 0.9\n[llm.fallback]\nengine = "llama"'
    )
    env = {"REJOINDER__LLM__FALLBACK__KEY": "hush", "REJOINDER__LLM__WORKERS": "http://a, http://b"}
    config, origins = load(file, env, ["llm.quick.engine=openai", "llm.sampling.top_k=40"])
    assert config.llm.workers == ("http://a", "http://b")
    assert config.llm.sampling == {"top_p": 0.9, "top_k": 40}
    assert (config.llm.fallback.engine, config.llm.quick.engine) == ("llama", "openai")
    fallback = config.llm.other(config.llm.fallback)
    assert (fallback.engine, fallback.key, fallback.stop, fallback.workers) == ("llama", "hush", ("User:",), ())
    text = render(config, origins)
    assert "hush" not in text
    assert tomllib.loads(text)["llm"]["fallback"]["key"] == "***"
    assert tomllib.loads(text)["llm"]["sampling"] == {"top_p": 0.9, "top_k": 40}


def test_tables_of_free_names_are_added_to(written: Written) -> None:
    file = written('[models.paths]\n"whisper-tiny.en" = "/a"\n[aliases]\nmine = "whisper-base"\n')
    config, origins = load(file, {"REJOINDER__MODELS__PATHS": '{"v.1" = "/b"}'}, ["models.paths.v.2=/c"])
    assert config.models.paths == {"whisper-tiny.en": "/a", "v.1": "/b", "v.2": "/c"}
    assert config.aliases == {**Config().aliases, "mine": "whisper-base"}
    assert origins['models.paths."v.2"'] == "--set"


def test_text_that_looks_like_something_else_stays_text() -> None:
    assert load(None, {}, ["llm.model=123", "llm.key=true", 'asr.language="de"'])[0].llm.model == "123"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[vad]\ntreshold = 0.3", 'unknown setting "vad.treshold" (from FILE); did you mean "vad.threshold"?'),
        ("[vda]\nthreshold = 0.3", 'unknown setting "vda" (from FILE); did you mean "vad"?'),
        ("vad = 3", "FILE: vad = 3: this is a section; write [vad]"),
        ("[vad]\nthreshold = 3", "vad.threshold = 3 (from FILE): expected float <= 1.0"),
        ("[vad]\nthreshold = true", "vad.threshold = true (from FILE): expected float, got bool"),
        ("[server]\nport = 70000", "server.port = 70000 (from FILE): expected int <= 65535"),
        ('[asr]\ndevice = "gpu"', 'asr.device = "gpu" (from FILE): expected one of "auto", "cpu", "cuda"'),
        ("[models.paths]\nx = 1", "models.paths.x = 1 (from FILE): expected str, got int"),
        ("[llm]\nkey = 7", "llm.key = (not shown) (from FILE): expected str, got int"),
        ("[vad\n", "FILE: not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 5)"),
    ],
)
def test_mistakes_in_a_file(written: Written, text: str, message: str) -> None:
    file = written(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {}, ())
    assert str(caught.value) == message.replace("FILE", str(file))


@pytest.mark.parametrize(
    ("env", "sets", "message"),
    [
        (
            {"REJOINDER__SERVER__PRT": "1"},
            (),
            'unknown setting "server.prt" (from REJOINDER__SERVER__PRT); did you mean "server.port"?',
        ),
        ({}, ("port=1",), 'unknown setting "port" (from --set); did you mean "server.port"?'),
        ({}, ("vad=1",), "vad (from --set) is a section; set one of the keys in it"),
        ({}, ("models.offline=maybe",), 'models.offline = "maybe" (from --set): expected bool, got str'),
        ({}, ("nonsense",), '--set nonsense: write it as section.key=value, for instance --set "server.port=9000"'),
    ],
)
def test_mistakes_elsewhere(env: dict[str, str], sets: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, env, sets)
    assert str(caught.value) == message


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nix\.toml: cannot read .*No such file"):
        load(tmp_path / "nix.toml", {}, ())


@given(st.text(), st.sampled_from(["llm.instructions", "aliases.x", "auth.keys", "server.port", "vad.threshold", "x"]))
def test_any_text_is_taken_or_refused_by_name(text: str, key: str) -> None:
    try:
        config, origins = load(None, {}, [f"{key}={text}"])
    except ConfigError as error:
        message = str(error)
    else:
        message = f"{key} is taken"
        assert origins[key] == "--set"
        assert tomllib.loads(render(config, origins))
    assert key in message


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_render_reads_back(text: str) -> None:
    config = msgspec.structs.replace(Config(), aliases={text: text, "x": ""})
    assert tomllib.loads(render(config, {}))["aliases"] == {text: text, "x": ""}


def test_render_masks_secrets_and_names_origins() -> None:
    text = render(*load(None, {"REJOINDER__LLM__KEY": "hush"}, ["auth.keys=one,two"]))
    assert 'key = "***"  # REJOINDER__LLM__KEY' in text
    assert 'keys = ["***", "***"]  # --set' in text
    assert "hush" not in text
    assert tomllib.loads(text)["server"]["port"] == 8800


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    config, _ = load(None, {}, [f"server.host={host}"])
    check(config)
    assert (config.server.host, config.auth.keys) == (host, ())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2", "example.org", ""])
def test_other_hosts_need_keys_or_a_plain_word(host: str) -> None:
    with pytest.raises(ConfigError, match="open to other machines"):
        check(load(None, {}, [f"server.host={host}"])[0])
    check(load(None, {}, [f"server.host={host}", "auth.keys=secret"])[0])
    check(load(None, {}, [f"server.host={host}", "auth.mode=none"])[0])


def test_keys_mode_without_keys() -> None:
    with pytest.raises(ConfigError, match=r"auth\.keys is empty"):
        check(load(None, {}, ["auth.mode=keys"])[0])
