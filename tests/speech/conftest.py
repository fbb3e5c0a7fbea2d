"""Fixtures of tests that talk to the whole server."""

from tests.live import live as live
from tests.speech.llama_child import llama_weights as llama_weights
