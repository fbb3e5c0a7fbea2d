"""Fixtures of tests that talk to the whole server."""

from tests.live import live as live
