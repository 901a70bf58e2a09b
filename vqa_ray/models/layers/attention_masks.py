"""Attention masks of transformers' models, made without a look at the padding.

transformers leaves a mask out where a batch happens to hold no padding, and for that reads the batch's own mask: on a
GPU the host waits at every token. Our engines leave it out themselves, as they know the lengths on the host.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

_NAME = "sdpa_unread_padding"


def leave_padding_unread(model: nn.Module) -> None:
    """Let the parts of a transformers model that attend by `sdpa` make their masks without reading the padding."""
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", None) == "sdpa":
            # The public setter would also change the parts that do without `sdpa`.
            config._attn_implementation_internal = _registered()


@functools.cache
def _registered() -> str:
    """Make the attention known to transformers, under a name of its own."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def unread(
        *,
        attention_mask: Tensor | None = None,
        allow_is_causal_skip: bool = True,
        allow_is_bidirectional_skip: bool = False,
        device: torch.device | str = "cpu",
        **given: Any,
    ) -> Tensor | None:
        free = attention_mask is None or torch.device(device).type == "cpu"
        mask: Tensor | None = sdpa_mask(
            attention_mask=attention_mask,
            allow_is_causal_skip=allow_is_causal_skip and free,
            allow_is_bidirectional_skip=allow_is_bidirectional_skip and free,
            device=device,
            **given,
        )
        return mask

    AttentionInterface.register(_NAME, sdpa_attention_forward)
    AttentionMaskInterface.register(_NAME, unread)
    return _NAME
