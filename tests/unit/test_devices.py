"""What start-up says of where each engine computes."""

import pytest

from tests.session.scripted import ScriptedAsr, ScriptedLlm, ScriptedTts, ScriptedVad, echo
from tests.taps import Recorder
from voice.answering import Engines
from voice.app import devices
from voice.config import Config, EndpointConfig, LlmConfig, OtherLlm, VadConfig
from voice.engines.metered import MeteredAsr


class OnGpu(ScriptedAsr):
    device = "cuda"


def told(config: Config, asr: ScriptedAsr) -> str:
    engines = Engines(ScriptedVad(), MeteredAsr(asr, Recorder()), ScriptedLlm(echo), ScriptedTts())
    return devices(config, engines)


@pytest.mark.parametrize(
    ("config", "asr", "places"),
    [
        (Config(), OnGpu(), "vad cpu, turn cpu, tts cpu, asr cuda, llm cpu"),
        (
            Config(vad=VadConfig(engine="mine:Vad")),
            ScriptedAsr(),
            "vad mine:Vad, turn cpu, tts cpu, asr whisper, llm cpu",
        ),
        (
            Config(
                endpoint=EndpointConfig(engine=""),
                llm=LlmConfig(
                    engine="sglang", url="http://a", workers=("http://b",), fallback=OtherLlm(engine="llama")
                ),
            ),
            OnGpu(),
            "vad cpu, tts cpu, asr cuda, llm sglang at http://a and http://b, fallback cpu",
        ),
    ],
)
def test_each_engine_says_where_it_computes(config: Config, asr: ScriptedAsr, places: str) -> None:
    assert told(config, asr) == places
