"""The exceptions of vqa-ray.

    VqaRayError
    ├── RequestError      what was asked cannot be done: told before any work, exit code 2
    │   └── ModelLoadError    a checkpoint that is missing, incomplete, unsafe or of an unknown family
    ├── RowError          one row cannot be answered: becomes a status row, or stands in the place of a result
    │   └── StoreFailure      an image was not fetched, for which its store may be to blame and not the row
    ├── DriftError        two runs lie further apart than `--max-drift`: exit code 3
    ├── SubmittedJobError a job on a cluster ended otherwise than well: the exit code of its command
    └── RunError          the run itself failed: exit code 1
        ├── TooManyErrors     so many rows failed that the run was stopped: exit code 3
        ├── BudgetSpentError  the budget of an endpoint is spent; the same command goes on with a larger one
        ├── TimeSpentError    the hours of a command are over; the same command goes on
        ├── OutageError       a store of images failed for too long: exit code 4
        └── OutputTakenOverError   another process writes to the output now

Messages are one line that says where, what, what was given and what is allowed.
"""

from __future__ import annotations

import re
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
    TEXT_MISSING = "text_missing"
    ANSWER_MISSING = "answer_missing"
    ROW_MALFORMED = "row_malformed"
    ROW_TOO_LONG = "row_too_long"
    MODEL_ERROR = "model_error"
    ROW_CRASHED = "row_crashed"
    GONE = "gone"
    SCHEMA_UNFINISHED = "schema_unfinished"
    SCHEMA_VIOLATED = "schema_violated"
    ENDPOINT_FAILED = "endpoint_failed"
    ENDPOINT_REFUSED = "endpoint_refused"
    REPLY_MALFORMED = "reply_malformed"
    FILTERED_EXCLUDED = "filtered_excluded"
    FILTERED_REFUSAL = "filtered_refusal"
    FILTERED_LENGTH = "filtered_length"
    FILTERED_DUPLICATE = "filtered_duplicate"
    FILTERED_DISAGREEMENT = "filtered_disagreement"
    # Never written: the row waits for a larger budget.
    BUDGET_SPENT = "budget_spent"


FILTERED = frozenset(str(code) for code in ErrorCode if code.startswith("filtered_"))
"""Codes of rows that are whole and not wanted; they are no failures of a run."""


_COLOUR = re.compile("\x1b\\[[0-9;]*[A-Za-z]")


def one_line(text: object, limit: int = MESSAGE_LIMIT) -> str:
    """Drop the colours of a terminal, collapse white space and control characters and cut to `limit` characters."""
    plain = _COLOUR.sub("", str(text))
    flat = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
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


class BudgetSpentError(RunError):
    """The budget of an endpoint is spent before the last row."""


class TimeSpentError(RunError):
    """The hours of a command are over before the last row."""


class OutageError(RunError):
    """A store of images has failed for longer than a run waits."""


class DriftError(VqaRayError):
    """Two runs lie further apart than the command allows."""


class SubmittedJobError(VqaRayError):
    """A submitted job has failed or was stopped.

    Attributes:
        exit_code: of its command; 143 where it was stopped, 1 where it has none.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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


class StoreFailure(RowError):
    """An image was not fetched: by a fault of its row, or by one of its store, which many images tell.

    Attributes:
        is_refusal: whether the store answered and refused (credentials, a missing bucket), rather than failed.
    """

    def __init__(self, code: ErrorCode, message: object, *, is_refusal: bool = False) -> None:
        self.is_refusal = is_refusal
        super().__init__(code, message)
