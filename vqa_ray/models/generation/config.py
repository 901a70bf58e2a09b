"""The length and the search of free text. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from vqa_ray.errors import ModelLoadError, RequestError
from vqa_ray.types import FinishReason

# Room for a paragraph, a list of boxes or a JSON object.
NEW_TOKENS = 256
# The limits of runs that did not record theirs.
UNRECORDED_ANSWER_TOKENS, UNRECORDED_CAPTION_TOKENS = 20, 30


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """The limits and the search of free text; a command's own come from `ModelOptions.generation`.

    Attributes:
        max_new_tokens: of an answer, the closing token included.
        caption_max_new_tokens: the same of a caption.
        num_beams: 1 takes the likeliest token each time; more searches that many continuations side by side.
        length_penalty: a beam's summed log-probability is divided by its length to this power; below 0 prefers short
            answers. Without beams it has no effect.

    Raises:
        RequestError: a count below 1.
    """

    max_new_tokens: int = 20
    caption_max_new_tokens: int = 30
    num_beams: int = 1
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "caption_max_new_tokens", "num_beams"):
            if getattr(self, name) < 1:
                raise RequestError(f"generation: {name} is {getattr(self, name)}, at least 1 is allowed")


def join_warnings(*warnings: str | None) -> str | None:
    """Join the warnings of a row; None if there are none."""
    return "; ".join(filter(None, warnings)) or None


def finish_warning(finish: FinishReason | None, limit: int, warning: str | None) -> str | None:
    """`warning`, followed by a note where the text was cut at `limit` tokens."""
    note = f"text cut at {limit} tokens; --max-new-tokens allows more" if finish == "length" else None
    return join_warnings(warning, note)


def eos_token_ids(configured: int | list[int] | None, tokenizers: int | None, label: str) -> tuple[int, ...]:
    """Return the ids that end an answer: the generation config's, else the tokenizer's."""
    ends = tokenizers if configured is None else configured
    if ends is None:
        raise ModelLoadError(
            f"{label}: neither generation_config.json nor the tokenizer names the token that ends a text"
        )
    return tuple(ends) if isinstance(ends, list) else (ends,)
