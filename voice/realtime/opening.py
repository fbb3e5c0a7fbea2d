"""What a session begins with where it is given from outside: with an ephemeral key, or with a WebRTC offer."""

from typing import Any

from voice.realtime.client_events import SessionUpdate
from voice.realtime.reading import read
from voice.realtime.settings import Session, SessionDefaults, first_session, merge


def opening(given: Any, defaults: SessionDefaults, *, transcription: bool = False) -> Session:
    """A session's settings at its beginning.

    Args:
        given: an object as `session.update` takes it in `session`.
        transcription: what the session is where `given` does not say.

    Raises:
        Refused: not such an object, or a value is not known here.
    """
    event = read({"type": "session.update", "session": given})
    if not isinstance(event, SessionUpdate):
        raise TypeError(f"session.update was read as {type(event).__name__}")
    shape = event.session
    kind = shape.type == "transcription" if shape.type else transcription
    return merge(first_session(defaults, kind), shape, defaults)
