"""Which model files are needed, where they come from, and how they are checked."""

from voice.models.progress import Bars, Reporter, Unseen
from voice.models.registry import REGISTRY, Entry
from voice.models.store import ModelError, Store, choose_llm, llm_model, machine, needed

__all__ = [
    "REGISTRY", "Bars", "Entry", "ModelError", "Reporter", "Store", "Unseen", "choose_llm", "llm_model", "machine",
    "needed",
]  # fmt: skip
