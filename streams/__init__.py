"""Timed media under pressure: bounded channels, lanes, playout and links. Knows nothing of speech."""
