"""A tap that remembers."""


class Recorder:
    """Every call as (name, value, labels), in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, dict[str, str]]] = []

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        self.calls.append((name, amount, labels))

    level = observe = count
