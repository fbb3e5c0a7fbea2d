"""The conversation: recognition, turn taking, answering. Knows no sockets."""

__version__ = "0.1.0"
