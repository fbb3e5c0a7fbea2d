"""Timed media under pressure; knows nothing of speech."""

import os

# Before NumPy is loaded: its linear algebra would keep a second core busy waiting for work that is never worth sharing.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
