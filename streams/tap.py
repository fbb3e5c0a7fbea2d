"""Where the running parts report what they do, without knowing who listens."""

from typing import Protocol


class Tap(Protocol):
    """Receives figures from edges, lanes and engines. Calls return at once and may come from any thread."""

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        """Add `amount` to the total `name`."""

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Put one value, usually in seconds, into the distribution `name`."""

    def level(self, name: str, value: float, /, **labels: str) -> None:
        """Set the current value of `name`."""

    def shift(self, name: str, by: float, /, **labels: str) -> None:
        """Add to the current value of `name`, of which several have a part."""


class Silent:
    """A tap nobody listens to."""

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None: ...

    def observe(self, name: str, value: float, /, **labels: str) -> None: ...

    def level(self, name: str, value: float, /, **labels: str) -> None: ...

    def shift(self, name: str, by: float, /, **labels: str) -> None: ...


SILENT: Tap = Silent()
