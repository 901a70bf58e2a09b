"""Attention by the fused kernel, or spelled out where that is faster."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    dropout: float = 0.0,
    training: bool = False,
) -> Tensor:
    """Scaled dot-product attention by the faster way of the device.

    On a CPU the fused kernel is slower in bfloat16, and when it is differentiated.

    Args:
        q: (B, heads, L, D).
        k: (B, heads, S, D).
        v: (B, heads, S, D).
        mask: bool, broadcast to (B, heads, L, S), True where attention is allowed; None for everywhere.
        dropout: the share of attention probabilities that is dropped.
        training: whether the result is differentiated.

    Returns:
        (B, heads, L, D).
    """
    if q.device.type != "cpu" or not (training or q.dtype == torch.bfloat16):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    scores = q @ (k * q.shape[-1] ** -0.5).transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    probabilities = scores.softmax(dim=-1)
    return (F.dropout(probabilities, dropout) if dropout > 0 else probabilities) @ v
