"""Fields of a log record are written, as text and as JSON."""

import json
import logging

from voice.logs import Lines


def record() -> logging.LogRecord:
    return logging.makeLogRecord({"name": "voice.session", "levelname": "INFO", "msg": "caller", "transcript": "hé\n"})


def test_fields_follow_the_message_on_the_same_line() -> None:
    assert Lines(json=False).format(record()).endswith("INFO voice.session caller transcript='hé\\n'")


def test_json_has_one_object_a_line() -> None:
    line = Lines(json=True).format(record())
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["level"], entry["message"], entry["transcript"]) == ("INFO", "caller", "hé\n")
