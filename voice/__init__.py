"""The conversation: recognition, turn taking, answering. Knows no sockets."""

import streams  # noqa: F401  # settles how many threads NumPy has, before anything loads NumPy

__version__ = "0.1.0"
