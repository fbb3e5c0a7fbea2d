"""Simulated callers, and what they measure from outside."""
