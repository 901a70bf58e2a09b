"""A conversation as a chat model learns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

IGNORED = -100
"""The target of a token that nothing is learnt behind."""


@dataclass(frozen=True, slots=True, eq=False)
class ChatRow:
    """A conversation as tokens.

    Attributes:
        ids: tokens that the model reads, placeholders of images expanded.
        targets: for each token the one that has to follow it, `IGNORED` where none is learnt; of an encoder-decoder
            model for each of `decoder_ids`.
        kinds: tensors (L, …) with values per token that the model wants with them, by name.
        images: tensors of the images, by name; their first dimension is the one that joins images. None without image.
        decoder_ids: tokens that the decoder of an encoder-decoder model reads; None for other models.
        warning: what was changed for the row to fit, or None.
    """

    ids: Sequence[int]
    targets: Sequence[int]
    kinds: Mapping[str, Tensor] = field(default_factory=dict)
    images: Mapping[str, Tensor] = field(default_factory=dict)
    decoder_ids: Sequence[int] | None = None
    warning: str | None = None

    @property
    def tokens(self) -> int:
        """Tokens that are read."""
        return len(self.ids) + len(self.decoder_ids or ())

    @property
    def answer_tokens(self) -> int:
        """Tokens under the loss: the answers and their end tokens."""
        return sum(target != IGNORED for target in self.targets)
