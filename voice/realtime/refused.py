"""Why an event is not accepted."""


class Refused(ValueError):
    """An event asks for something that is not possible.

    Attributes:
        code: the API's word for the kind of mistake.
        param: path of the field at fault, from the event's root; None when it is the whole event.
    """

    def __init__(self, code: str, param: str | None, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.param = param


class Invalid(ValueError):
    """A client's frame was not accepted; `frame` is the `error` event that tells it so."""

    def __init__(self, reason: str, frame: str) -> None:
        super().__init__(reason)
        self.frame = frame
