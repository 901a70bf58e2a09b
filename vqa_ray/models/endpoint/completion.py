"""The answers of an endpoint, read from what it sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqa_ray.errors import ErrorCode, RowError, one_line
from vqa_ray.types import FinishReason

_FILTERED = "content_filter"


class UnusableResponseError(Exception):
    """A response that is no answer; another attempt may bring one."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote.

    Attributes:
        id: of the response; None where the server gives none.
        text: the answer.
        finish_reason: how it ended; None where the server does not say.
        log_probabilities: of its tokens; None where the server gives none.
        first: likeliest first tokens → log-probability; empty where the server gives none.
        tokens: of prompt and answer together, as the server counts them; None where it does not.
    """

    id: str | None
    text: str
    finish_reason: FinishReason | None
    log_probabilities: tuple[float, ...] | None
    first: Mapping[str, float]
    tokens: int | None


def parse(data: bytes) -> Completion:
    """Read the body of a response with status 200.

    Raises:
        UnusableResponseError: it is no chat completion.
        RowError: `endpoint_refused` when the model declines, or a content filter took the answer.
    """
    try:
        body = json.loads(data)
        choice = body["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        refusal, text = message.get("refusal"), message["content"]
        if refusal or finish == _FILTERED:
            raise RowError(ErrorCode.ENDPOINT_REFUSED, refusal or "the endpoint's content filter took the answer")
        if text is None and finish == "length":
            # All tokens went into thoughts.
            text = ""
        if not isinstance(text, str):
            raise TypeError("message.content is no text")
        listed = (choice.get("logprobs") or {}).get("content") or []
        id_, total = body.get("id"), (body.get("usage") or {}).get("total_tokens")
        return Completion(
            id_ if isinstance(id_, str) else None,
            text.strip(),
            finish if finish in ("stop", "length") else None,
            tuple(float(token["logprob"]) for token in listed) or None,
            {each["token"]: float(each["logprob"]) for each in (listed[0].get("top_logprobs") or ())} if listed else {},
            total if isinstance(total, int) else None,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        begun = one_line(data[:80].decode(errors="replace"))
        raise UnusableResponseError(f"the endpoint sent no chat completion but {begun!r}") from error


def error_message(data: bytes) -> tuple[str, str]:
    """Return the code (or type) and the message of an error that an endpoint sent; both may be empty."""
    try:
        body: Any = json.loads(data)
        error = body.get("error", body)
        if isinstance(error, str):
            return "", error
        code = str(error.get("code") or error.get("type") or "")
        return code, str(error.get("message") or error.get("detail") or "")
    except (ValueError, AttributeError):
        return "", one_line(data[:200].decode(errors="replace"))
