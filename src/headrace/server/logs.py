"""The log on stderr: text lines for people or JSON lines for machines. Times are UTC."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Final

TEXT_FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
_PLAIN: Final = re.compile(r"[!#-<>-~]*", re.ASCII)  # no space, quote or equals sign
TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"


class TextLines(logging.Formatter):
    """Time, level, logger, message and `fields` as name=value, followed by any traceback."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT, TIME_FORMAT)
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format the line without its traceback."""
        fields: dict[str, object] = getattr(record, "fields", {})
        return super().formatMessage(record) + "".join(
            f" {name}={_shown(value)}" for name, value in fields.items()
        )


class JsonLines(TextLines):
    """`time`, `level`, `logger`, `process`, `message`, `fields`, and `traceback` after an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line, even if the message has several."""
        line = {
            "time": f"{self.formatTime(record, TIME_FORMAT)}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _shown(value: object) -> str:
    """A value of a field, in quotes if it could be taken for several fields or lines."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def configure(level: str, style: str) -> None:
    """Log messages of `level` and above to stderr; `style` is "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
