"""The exceptions of vqa-ray.

    VqaRayError
    ├── RequestError      what was asked cannot be done: told before any work, exit code 2
    │   └── ModelLoadError    a checkpoint that is missing, incomplete, unsafe or of an unknown family
    ├── RowError          one row cannot be answered: becomes a status row, or stands in the place of a result
    └── RunError          the run itself failed: exit code 1
        ├── TooManyErrors     so many rows failed that the run was stopped: exit code 3
        └── OutputTakenOverError   another process writes to the output now

Messages are one line that says where, what, what was given and what is allowed.
"""

from __future__ import annotations

from enum import StrEnum

MESSAGE_LIMIT = 300


class ErrorCode(StrEnum):
    """Why a row has no answer. The values stand in the `error_code` column."""

    IMAGE_MISSING = "image_missing"
    IMAGE_FETCH_FAILED = "image_fetch_failed"
    IMAGE_UNDECODABLE = "image_undecodable"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_UNSUPPORTED = "image_unsupported"
    IMAGE_ASPECT_RATIO = "image_aspect_ratio"
    QUESTION_MISSING = "question_missing"
    ROW_MALFORMED = "row_malformed"
    MODEL_ERROR = "model_error"
    ROW_CRASHED = "row_crashed"
    ENDPOINT_FAILED = "endpoint_failed"
    ENDPOINT_REFUSED = "endpoint_refused"


def one_line(text: object, limit: int = MESSAGE_LIMIT) -> str:
    """Collapse white space and control characters and cut to `limit` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


class VqaRayError(Exception):
    """The root of every exception this project raises on purpose."""


class RequestError(VqaRayError, ValueError):
    """The request is wrong; nothing was done.

    Attributes:
        excerpt: what was given with the fault marked, lines to show below the message; empty for most.
    """

    excerpt: str = ""


class ModelLoadError(RequestError):
    """A checkpoint cannot be loaded: the message names it and what is missing."""


class RunError(VqaRayError, RuntimeError):
    """The run failed after it had begun."""


class TooManyErrors(RunError):
    """So many rows have failed that the run was stopped before its end."""


class DriftError(VqaRayError):
    """Two runs lie further apart than the command allows."""


class OutputTakenOverError(RunError):
    """Another process has become the writer of the output, because this one stood still."""


class RowError(VqaRayError):
    """One row cannot be answered.

    Args:
        code: why, as it stands in the `error_code` column.
        message: the reason for a person; cut to one line of at most `MESSAGE_LIMIT` characters.
    """

    def __init__(self, code: ErrorCode, message: object) -> None:
        self.code = code
        self.message = one_line(message)
        super().__init__(self.code, self.message)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __repr__(self) -> str:
        return f"RowError({str(self.code)!r}, {self.message!r})"
