"""The log of the server: a JSON object for each line.

Nothing in it comes from the bodies of requests. The message of an unexpected error can quote them,
so it is left out, unless the operator asks for it.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

_OURS = logging.getLogger("m3rag")
_UVICORN = logging.getLogger("uvicorn")
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, with the fields of its `extra`."""

    def __init__(self, *, log_texts: bool) -> None:
        super().__init__()
        self._log_texts = log_texts

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        values |= {name: v for name, v in vars(record).items() if name not in _PLAIN}
        if record.exc_info and record.exc_info[1] is not None:
            values |= self._error(record.exc_info[1])
        return json.dumps(values, default=str)

    def _error(self, error: BaseException) -> dict[str, Any]:
        if self._log_texts:
            return {"error": "".join(traceback.format_exception(error))}
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return {"error": type(error).__name__, "traceback": places}


def log_to_stderr(*, log_texts: bool) -> None:
    """Write the log of the server to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(log_texts=log_texts))
    for logger, level in ((_OURS, logging.INFO), (_UVICORN, logging.WARNING)):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
