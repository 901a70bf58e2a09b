"""Requests for the batch interface of a provider, and answers out of the results that it sends back.

A request has the name of its row, `RUN-KEY-DIGEST`: the run, the row's source_key and the words that are said. So a
result finds its row whatever else has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from vqa_ray.errors import ErrorCode, RequestError, RowError
from vqa_ray.models.endpoint.budget import Budget
from vqa_ray.models.endpoint.completion import Completion, UnusableResponseError, error_message, is_refusal, parse
from vqa_ray.models.endpoint.question import Question
from vqa_ray.storage.filesystem import read_bytes
from vqa_ray.storage.store_errors import refused

_PATH = "/v1/chat/completions"


@dataclass(slots=True)
class BatchRow:
    """The row that is asked about.

    Attributes:
        prefix: of the names of its requests.
        requests: name → body, of those that were made.
    """

    prefix: str
    requests: dict[str, Mapping[str, Any]] = field(default_factory=dict)


_ROW: ContextVar[BatchRow] = ContextVar("batch_row")


@contextmanager
def row_of_batch(run: str, source_key: int) -> Iterator[BatchRow]:
    """Name the requests within the block after a row."""
    row = BatchRow(f"{run}-{source_key:x}")
    token = _ROW.set(row)
    try:
        yield row
    finally:
        _ROW.reset(token)


def request_line(name: str, body: Mapping[str, Any]) -> bytes:
    """Return a line of the file of requests."""
    request = {"custom_id": name, "method": "POST", "url": _PATH, "body": body}
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


class BatchRequests:
    """Collects requests in the place of a client; every row waits for its results."""

    def ask(self, questions: Sequence[Question]) -> list[Completion | RowError]:
        """Add the requests to those of the row."""
        row = _ROW.get()
        row.requests |= {_name(row, question): question.body for question in questions}
        # New ones each time: an error that is raised holds the images of its frames.
        return [RowError(ErrorCode.ENDPOINT_FAILED, "the request is written for a batch") for _ in questions]

    def close(self) -> None:
        """Do nothing."""


class BatchResults:
    """Answers questions out of the results of a batch, in the place of a client.

    Args:
        uris: the files of results and of errors that the provider sent.
        budget: the prices.

    Raises:
        RequestError: a file cannot be read, or holds something else.
    """

    def __init__(self, uris: Sequence[str], budget: Budget) -> None:
        self._budget = budget
        self._lines: dict[str, list[Mapping[str, Any]]] = {}
        for uri in uris:
            for name, line in _results(uri):
                known = self._lines.setdefault(name, [])
                if _answer_of(line) not in [_answer_of(each) for each in known]:
                    known.append(line)

    def names(self) -> list[str]:
        """Return the names of the requests that have a result."""
        return list(self._lines)

    def ask(self, questions: Sequence[Question]) -> list[Completion | RowError]:
        """Look the questions up."""
        row = _ROW.get()
        return [self._found(_name(row, question)) for question in questions]

    def close(self) -> None:
        """Do nothing."""

    def _found(self, name: str) -> Completion | RowError:
        lines = self._lines.get(name, [])
        # A request that failed and was sent again has a result of each kind.
        answers = [line for line in lines if _status(line) == 200] or lines
        if len(answers) != 1:
            found = f"{len(answers)} different results" if answers else "no result"
            return RowError(ErrorCode.ENDPOINT_FAILED, f"the batch has {found} for request {name}")
        (line,) = answers
        body = json.dumps((line.get("response") or {}).get("body") or line.get("error") or {}).encode()
        if _status(line) != 200:
            code, message = error_message(body)
            reason = " ".join(filter(None, (f"HTTP {_status(line)}" if _status(line) else "", code, message)))
            kind = ErrorCode.ENDPOINT_REFUSED if is_refusal(code) else ErrorCode.ENDPOINT_FAILED
            return RowError(kind, f"batch: {reason}")
        try:
            completion = parse(body)
        except UnusableResponseError as error:
            return RowError(ErrorCode.ENDPOINT_FAILED, error)
        if completion.refusal is not None:
            return RowError(ErrorCode.ENDPOINT_REFUSED, completion.refusal)
        return replace(completion, usage=completion.usage and self._budget.priced(completion.usage))


def check_results(uris: Sequence[str], run: str) -> tuple[int, int]:
    """Count the results of a run, and those of other runs.

    Raises:
        RequestError: no result is of the run, or a file holds something else.
    """
    names = BatchResults(uris, Budget()).names()
    own = sum(name.startswith(f"{run}-") for name in names)
    if not own:
        raise RequestError(
            f"--batch-results: none of the {len(names)} results is of this run ({run}); wanted those of the requests "
            "that --batch-file wrote for this --output"
        )
    return own, len(names) - own


def _results(uri: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with refused(f"--batch-results {uri}: cannot be read"):
        data = read_bytes(uri)
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            name = content["custom_id"]
            if not isinstance(name, str) or not isinstance(content["response"], dict | None):
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RequestError(
                f"--batch-results {uri}: line {number} is no result of a batch (custom_id and response)"
            ) from error
        yield name, content


def _status(line: Mapping[str, Any]) -> int | None:
    response = line.get("response")
    return response.get("status_code") if isinstance(response, dict) else None


def _answer_of(line: Mapping[str, Any]) -> tuple[int | None, object]:
    body = (line.get("response") or {}).get("body")
    return _status(line), body.get("choices") if isinstance(body, dict) else None


def _name(row: BatchRow, question: Question) -> str:
    """Name a request by its row, and by what is said in it beside the images."""
    body = question.body
    said = [
        part["text"] if isinstance(part, dict) and "text" in part else part if isinstance(part, str) else None
        for message in body["messages"]
        for part in (message["content"] if isinstance(message["content"], list) else [message["content"]])
    ]
    digest = hashlib.blake2b(json.dumps([said, body.get("response_format")]).encode(), digest_size=6).hexdigest()
    return f"{row.prefix}-{digest}"
