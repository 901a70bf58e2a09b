"""The answers of an endpoint, read from what it sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vqa_ray.errors import one_line
from vqa_ray.types import FinishReason, Usage

_FILTERED = "content_filter"


class UnusableResponseError(Exception):
    """A response that is no answer; another attempt may bring one."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote.

    Attributes:
        id: of the response; None where the server gives none.
        written: the answer, white space around it included.
        finish_reason: how it ended; None where the server does not say.
        tokens: of the answer, as bytes of UTF-8; empty where the server gives none.
        log_probabilities: of its tokens; None where the server gives none.
        first: likeliest first tokens → log-probability; empty where the server gives none.
        usage: as the server counts it, without a cost; None where it does not.
        refusal: why there is no answer; None where there is one.
    """

    id: str | None
    written: str
    finish_reason: FinishReason | None
    tokens: tuple[bytes, ...]
    log_probabilities: tuple[float, ...] | None
    first: Mapping[str, float]
    usage: Usage | None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """The answer."""
        return self.written.strip()


def parse(data: bytes) -> Completion:
    """Read the body of a response with status 200.

    Raises:
        UnusableResponseError: it is no chat completion.
    """
    try:
        body = json.loads(data)
        choice = body["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        refusal, text = message.get("refusal"), message["content"]
        if finish == _FILTERED:
            refusal = refusal or "the endpoint's content filter took the answer"
        if text is None and (finish == "length" or refusal):
            # All tokens went into thoughts.
            text = ""
        if not isinstance(text, str):
            raise TypeError("message.content is no text")
        listed = (choice.get("logprobs") or {}).get("content") or []
        id_ = body.get("id")
        return Completion(
            id_ if isinstance(id_, str) else None,
            text,
            finish if finish in ("stop", "length") else None,
            tuple(_bytes(token) for token in listed),
            tuple(float(token["logprob"]) for token in listed) or None,
            {each["token"]: float(each["logprob"]) for each in (listed[0].get("top_logprobs") or ())} if listed else {},
            _usage(body.get("usage") or {}),
            str(refusal) if refusal else None,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        begun = one_line(data[:80].decode(errors="replace"))
        raise UnusableResponseError(f"the endpoint sent no chat completion but {begun!r}") from error


def _bytes(token: Mapping[str, Any]) -> bytes:
    given = token.get("bytes")
    return str(token["token"]).encode() if given is None else bytes(given)


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    """Read the tokens of prompt and answer; all count as the prompt's where only their sum is given."""
    prompt, completion, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if isinstance(prompt, int) and isinstance(completion, int):
        return Usage(1, prompt, completion)
    return Usage(1, total, 0) if isinstance(total, int) else None


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
