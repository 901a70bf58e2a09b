"""The interface that a generative family implements: encode images, prefill prompts, decode tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from vqa_ray.models.generation.decoding import Decoding
from vqa_ray.models.generation.prompt_budget import Prompt


class GenerationBackbone(Protocol):
    """The networks of a generative family."""

    device: torch.device
    """The device that takes pixels."""
    tokenizer: Any
    image_tokens: int
    """Tokens that an image takes up in front of a prompt, in the language model's memory."""
    prompt_limit: int
    """Tokens of a prompt and its continuation together."""
    image_token: int | None
    """The id that stands for an image in text; None where there is none."""
    eos_token_ids: tuple[int, ...]
    """The ids that end a text."""
    pads: bool
    """Whether prompts of different lengths can run together."""
    answers: bool
    """Whether it answers questions."""
    captions: bool
    """Whether it describes images."""

    def tokenize(self, text: str) -> Sequence[int]:
        """Return a prompt's token ids, special tokens included; of "" the ones that a caption starts from."""
        ...

    def choice_tokens(self, choice: str) -> tuple[int, ...]:
        """Return the ids of a choice as a continuation, without special tokens."""
        ...

    def encode(self, pixels: Tensor) -> Any:
        """Compute the state that all questions of an image share.

        Args:
            pixels: uint8 (B, H, W, 3), on the device.
        """
        ...

    def prefill(self, encoded: Any, images: Tensor, prompts: Sequence[Prompt], extra_tokens: int) -> Decoding:
        """Read prompts.

        Args:
            encoded: of B images.
            images: (R,) int64 on the device, which of them each prompt is about.
            prompts: R.
            extra_tokens: number of tokens that will follow each prompt; memory is set aside for them.
        """
        ...

    def beams(
        self, encoded: Any, images: Tensor, prompts: Sequence[Prompt], count: int, options: dict[str, Any]
    ) -> list[list[list[int]]]:
        """Return the `count` best continuations of each prompt, as transformers' `generate(**options)` gives them."""
        ...
