"""Log messages as JSON lines."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

# Where Ray has put it into a message: the worker that logs.
_PLACE = ("node_id", "worker_id", "actor_id", "task_name")


class JsonFormatter(logging.Formatter):
    """One JSON object per message, with the run that is under way; `extra={"fields": {…}}` is put into it.

    Attributes:
        run_id: of the run that this process works on; None before one is known.
    """

    run_id: str | None = None

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a message."""
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **({} if JsonFormatter.run_id is None else {"run_id": JsonFormatter.run_id}),
            **{name: getattr(record, name) for name in _PLACE if hasattr(record, name)},
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
