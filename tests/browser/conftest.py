"""Fixtures of tests in a real browser."""

from tests.live import live as live
