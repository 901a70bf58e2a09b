"""Heads that learn categories of an image beside what a training is for, and are left behind at its export.

A question or a caption teaches one thing about an image; a few categories teach several at once, from which a network
sees sooner.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def auxiliary_heads(width: int, classes: Sequence[int], *, seed: int, device: torch.device) -> nn.ModuleList:
    """One linear head for each category column, over mean image tokens; the same for the same seed.

    Args:
        width: of an image token.
        classes: of each column.
        seed: of the weights.
        device: where the heads lie.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.ModuleList(nn.Linear(width, count) for count in classes).to(device)


def auxiliary_loss(logits: Sequence[Tensor], wanted: Tensor) -> Tensor:
    """Cross-entropy of the heads, summed over heads and rows.

    Args:
        logits: of each head, (N, classes); at least one head.
        wanted: int64 (N, heads), the class of each row; -1 is unknown and teaches nothing.
    """
    losses = [
        F.cross_entropy(answer.float(), column, ignore_index=-1, reduction="sum")
        for answer, column in zip(logits, wanted.unbind(dim=1), strict=True)
    ]
    return torch.stack(losses).sum()
