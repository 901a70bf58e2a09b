"""How free text is generated. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from vqa_ray.errors import RequestError

SCORE_MEANING = (
    "answer: exp(mean log-probability of its tokens, the closing one included); "
    "choices: softmax over the choices of the mean log-probability of their tokens, so they sum to 1"
)


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """The limits and the search of free text.

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
