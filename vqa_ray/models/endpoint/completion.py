"""The answers of an endpoint, read from what it sends."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from vqa_ray.errors import one_line
from vqa_ray.types import FinishReason, Usage

_FILTERED = "content_filter"
_REFUSALS = (_FILTERED, "content_policy_violation")
# Shorter ids are not unique: Ollama draws `chatcmpl-NNN` below 999, Text Generation Inference sends "".
_ID_CHARACTERS = 20
# Of one request; a larger number is none.
_MOST_TOKENS = 10**9
# How far above 0 a logarithm of 1 may be, and how far below it any that is not of 0.
_ROUNDING, _LEAST = 1e-3, 1e9
# What JSON can escape and no file can hold.
_SURROGATES = re.compile("[\ud800-\udfff]")


class UnusableResponseError(Exception):
    """A response that is no answer; another attempt may bring one."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote.

    Attributes:
        id: of the response; None where the server gives none that tells it from all others.
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
        first = (listed[0].get("top_logprobs") or ()) if listed else ()
        if not all(_is_log_probability(token["logprob"]) for token in (*listed, *first)):
            listed, first = [], ()
        id_ = body.get("id")
        return Completion(
            id_ if isinstance(id_, str) and len(id_) >= _ID_CHARACTERS else None,
            _whole(text),
            finish if finish in ("stop", "length") else None,
            tuple(_bytes(token) for token in listed),
            tuple(min(0.0, token["logprob"]) for token in listed) or None,
            {str(each["token"]): min(0.0, each["logprob"]) for each in first},
            _usage(body.get("usage") or {}),
            _whole(str(refusal)) if refusal else None,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        begun = one_line(data[:80].decode(errors="replace"))
        raise UnusableResponseError(f"the endpoint sent no chat completion but {begun!r}") from error


def _bytes(token: Mapping[str, Any]) -> bytes:
    given = token.get("bytes")
    return bytes(given) if isinstance(given, list) else _whole(str(token["token"])).encode()


def _is_log_probability(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return value == -math.inf or -_LEAST <= value <= _ROUNDING


def _whole(text: str) -> str:
    """Return a text without halves of surrogate pairs."""
    return _SURROGATES.sub("\ufffd", text)


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    """Read the tokens of prompt and answer; all count as the prompt's where only their sum is given."""
    prompt, completion, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if _is_count(prompt) and _is_count(completion):
        return Usage(1, prompt, completion)
    return Usage(1, total, 0) if _is_count(total) else None


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS


def is_refusal(code: str) -> bool:
    """Whether an error of this code, see `error_message`, is about what was asked or answered and comes every time."""
    return code in _REFUSALS


def error_message(data: bytes) -> tuple[str, str]:
    """Return the code (or type) and the message of an error that an endpoint sent; both may be empty."""
    try:
        body: Any = json.loads(data)
        error = body.get("error", body)
        if isinstance(error, str):
            return "", _whole(error)
        code = str(error.get("code") or error.get("type") or "")
        return code, _whole(str(error.get("message") or error.get("detail") or ""))
    except (ValueError, AttributeError, RecursionError):
        return "", one_line(data[:200].decode(errors="replace"))
