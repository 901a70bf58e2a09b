"""A question to an endpoint: the body of a request, and the tokens that it is expected to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# On the careful side; an image token as Qwen-VL counts it.
_TOKEN_CHARACTERS, _TOKEN_PIXELS = 2, 28**2


@dataclass(frozen=True, slots=True)
class Question:
    """A request.

    Attributes:
        body: as JSON.
        prompt_tokens: expected, see `expected_tokens`.
        answer_tokens: the most of the answer.
    """

    body: Mapping[str, Any]
    prompt_tokens: int
    answer_tokens: int


def expected_tokens(characters: int, pixels: int) -> int:
    """Estimate the tokens of a prompt, on the careful side.

    Args:
        characters: of its texts.
        pixels: of its images.
    """
    return characters // _TOKEN_CHARACTERS + pixels // _TOKEN_PIXELS + 16
