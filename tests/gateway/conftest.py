"""Fixtures of tests that talk to the whole server."""

from tests.chat_server import no_proxy as no_proxy
from tests.chat_server import server as server
from tests.live import live as live
