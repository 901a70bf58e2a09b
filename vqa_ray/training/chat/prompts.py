"""The prompts of a model's inference, as training asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from torch import Tensor

from vqa_ray.conversation.conversation import Conversation
from vqa_ray.models.chat.processor import Encoded
from vqa_ray.types import Image, ImageTransform


class EncodedPrompts(Protocol):
    """Prompts about the same images."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of the images, from the first prompt on."""
        ...

    def encode(self, prompt: str) -> Encoded:
        """Return a prompt as tokens."""
        ...


class TrainingPrompts(Protocol):
    """The prompts of one checkpoint."""

    end: int
    """The token that ends an answer."""
    context: int
    """Tokens that the model reads at most."""
    transform: ImageTransform
    """The size that images have."""
    opening: tuple[int, ...] | None
    """Tokens that a decoder begins with; None for models that continue their prompt."""

    def texts(self, conversation: Conversation) -> list[str]:
        """Return the prompt of each answer, as inference words it after the turns before.

        Raises:
            RowError: the conversation cannot be worded.
        """
        ...

    def about(self, images: Sequence[Image]) -> EncodedPrompts:
        """Return the prompts about images, uint8 (H, W, 3) each."""
        ...

    def text_ids(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the tokens of the texts of prompts, their images not expanded."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of generated tokens."""
        ...

    def spellings(self, answer: str) -> Iterator[tuple[int, ...]]:
        """Yield the tokens of an answer behind a prompt: first as inference scores them, then as a template may."""
        ...
