"""Taps that remember."""

from collections import Counter

import anyio


class Recorder:
    """Every call as (name, value, labels), in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, dict[str, str]]] = []
        self._levels: Counter[str] = Counter()

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        self.calls.append((name, amount, labels))

    level = observe = count

    def shift(self, name: str, by: float, /, **labels: str) -> None:
        key = f"{name} {labels}"
        self._levels[key] += by  # type: ignore[assignment]
        self.level(name, self._levels[key], **labels)


class Awaited(Recorder):
    """Lets a test wait for what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self._told = anyio.Event()

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        super().count(name, amount, **labels)
        self._told.set()

    level = observe = count

    async def until(self, name: str, times: int = 1) -> list[float]:
        """Wait until `name` was told so many times; its values so far."""
        while len(values := [value for other, value, _ in self.calls if other == name]) < times:
            self._told = anyio.Event()
            await self._told.wait()
        return values
