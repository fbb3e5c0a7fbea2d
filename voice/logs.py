"""How log records are written: constant messages, with what belongs to them as fields."""

import logging

import msgspec

from voice.config import LoggingConfig

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class Lines(logging.Formatter):
    """One line a record, `key=value` for each field behind the message; or (`json`) one JSON object."""

    def __init__(self, *, json: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._json = json

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        fields = {key: str(value) for key, value in vars(record).items() if key not in _OWN}
        if not self._json:
            return " ".join([super().format(record), *(f"{key}={value!r}" for key, value in fields.items())])
        entry = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "name": record.name,
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


def set_up(config: LoggingConfig) -> None:
    """Write log records to standard error as configured."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(json=config.json))
    logging.basicConfig(level=config.level.upper(), handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it has a line for every answer
