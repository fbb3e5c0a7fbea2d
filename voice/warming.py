"""Has the language model read what it will have to answer, while the caller still speaks."""

import logging
from collections.abc import Callable

import anyio

from voice.engines import EngineError, Llm
from voice.events import Prompt
from voice.realtime.shapes import new_id

_log = logging.getLogger(__name__)


class Warming:
    """One caller's prefix cache is kept warm: the newest prompt asked for, one at a time."""

    def __init__(self, llm: Llm) -> None:
        self._llm = llm
        self._wanted: Callable[[], Prompt] | None = None
        self._read: Prompt | None = None
        self._work = anyio.Event()
        self._scope = anyio.CancelScope()

    def ask(self, prompt: Callable[[], Prompt]) -> None:
        """Read this when the one before it has been read; what waited for that is forgotten."""
        self._wanted = prompt
        self._work.set()

    def stop(self) -> None:
        """Leave the engine to others."""
        self._wanted = None
        self._scope.cancel()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._work.wait()
            self._work = anyio.Event()
            if self._wanted is None:
                continue
            prompt, self._wanted = self._wanted(), None
            if prompt == self._read:
                continue
            with anyio.CancelScope() as self._scope:
                try:
                    await self._llm.prefill(prompt, request=new_id("warm"))
                    self._read = prompt
                except EngineError as error:
                    _log.debug("the language model could not read ahead", extra={"reason": str(error)})
