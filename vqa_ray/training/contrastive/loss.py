"""The loss of image-text pairs (CLIP, Radford et al. 2021), of which some may mean the same.

Each image is to be nearer to its own caption than to the captions of the other images in the batch, and each caption
nearer to its own image than to the others (InfoNCE, van den Oord et al. 2018, arXiv:1807.03748). Two rows with the same
caption, or with the same image, are no negatives of each other: what is wanted of a row is shared equally among all
rows of the batch that are right for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_SCALE = 100.0
"""Similarities are multiplied by a learned scale of at most so much, as CLIP's are."""

KEYS = 2
"""What is told of a row beside its tensors: a key of its image and one of its caption, equal where these are."""


def same_pair_mask(keys: Tensor, others: Tensor) -> Tensor:
    """Return bool (N, M): whether two rows show the same image or have the same caption.

    Args:
        keys: int64 (N, KEYS).
        others: int64 (M, KEYS).
    """
    return (keys[:, None] == others[None]).any(dim=-1)


def contrastive_loss(
    images: Tensor, texts: Tensor, keys: Tensor, scale: Tensor, *, first: int = 0, rows: int | None = None
) -> Tensor:
    """Return the cross-entropy of images over captions and of captions over images: their mean, summed over rows.

    Args:
        images: float32 (M, D), of length 1, of the whole batch.
        texts: likewise.
        keys: int64 (M, KEYS).
        scale: (), what similarities are multiplied by.
        first: of the rows that the loss is summed over.
        rows: how many they are; None for all that follow.
    """
    mine = slice(first, None if rows is None else first + rows)
    wanted = same_pair_mask(keys[mine], keys).to(images.dtype)
    wanted = wanted / wanted.sum(dim=1, keepdim=True).clamp(min=1)
    to_texts = torch.log_softmax(scale * images[mine] @ texts.T, dim=1)
    to_images = torch.log_softmax(scale * texts[mine] @ images.T, dim=1)
    return -((to_texts + to_images) * wanted).sum() / 2
