"""The layers of CLIP's and SigLIP's vision encoders when they no longer change: exact, but laid out to be fast.

What differs from transformers' modules, with the same weights and the same result up to rounding: one product makes
query, key and value; the activation and the sums are part of the products where the device can; where only the first
token is read, the last layer computes no other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vqa_ray.models.layers.attention import attend
from vqa_ray.models.layers.linear import FrozenLinear

# Of the sigmoid in CLIP's `quick_gelu`.
_QUICK = 1.702
ACTIVATIONS = ("quick_gelu", "gelu", "gelu_pytorch_tanh")


def vision_layers(model: Any) -> VisionLayers | None:
    """Take the layers of a `CLIPVisionModel` or `SiglipVisionModel`; None if its activation is another."""
    config = model.config
    if config.hidden_act not in ACTIVATIONS:
        return None
    return VisionLayers(model.encoder, config.hidden_act, config.num_attention_heads)


class VisionLayers:
    """All layers of an encoder, whose matrices it takes: the encoder itself can no longer be used.

    Args:
        encoder: a `CLIPEncoder` or `SiglipEncoder`, on its device and in its dtype.
        activation: one of `ACTIVATIONS`.
        heads: the width is shared among them.
    """

    def __init__(self, encoder: Any, activation: str, heads: int) -> None:
        self._layers = [_Layer(layer, activation, heads) for layer in encoder.layers]

    def __call__(self, x: Tensor, *, only_first: bool = False) -> Tensor:
        """(B, L, D) → (B, L, D), or (B, 1, D) where only the first token is wanted."""
        for layer in self._layers[:-1]:
            x = layer(x)
        return self._layers[-1](x, only_first=only_first)


class _Layer:
    """One layer: attention, then two products with an activation between, each around a residual."""

    def __init__(self, layer: Any, activation: str, heads: int) -> None:
        attention = layer.self_attn
        joined = (attention.q_proj, attention.k_proj, attention.v_proj)
        weight, bias = (torch.cat([getattr(part, name) for part in joined]) for name in ("weight", "bias"))
        width = weight.shape[1]
        self._query = FrozenLinear(weight[:width], bias[:width])
        self._key_value = FrozenLinear(weight[width:], bias[width:])
        self._out = FrozenLinear(attention.out_proj.weight, attention.out_proj.bias)
        self._up = _Activated(layer.mlp.fc1, activation)
        down = layer.mlp.fc2
        self._down = FrozenLinear(down.weight / self._up.scale, down.bias)
        self._before, self._after = layer.layer_norm1, layer.layer_norm2
        self._heads = heads
        for part in (*joined, attention.out_proj, layer.mlp.fc1, down):
            part.weight = nn.Parameter(part.weight.new_empty(0), requires_grad=False)

    def __call__(self, x: Tensor, *, only_first: bool = False) -> Tensor:
        normed = self._before(x)
        key, value = self._key_value(normed).chunk(2, dim=-1)
        if only_first:
            x, normed = x[:, :1].contiguous(), normed[:, :1].contiguous()
        mixed = self._attend(self._query(normed), key, value)
        x = self._out.plus(mixed, x)
        return self._down.plus(self._up(self._after(x)), x)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (part.view(*part.shape[:2], self._heads, -1).transpose(1, 2) for part in (query, key, value))
        return attend(q, k, v).transpose(1, 2).flatten(2)


class _Activated:
    """A product and the activation of it, times `scale`, by which the next product is to be divided."""

    def __init__(self, linear: Any, activation: str) -> None:
        self._activation = activation
        plain = FrozenLinear(linear.weight, linear.bias)
        # quick_gelu(x) = x·σ(1.702 x) = swish(1.702 x) / 1.702, and oneDNN has swish.
        self.scale = _QUICK if activation == "quick_gelu" and plain.packed else 1.0
        scaled = self.scale != 1.0
        self._product = FrozenLinear(linear.weight * self.scale, linear.bias * self.scale) if scaled else plain

    def __call__(self, x: Tensor) -> Tensor:
        if self.scale != 1.0:
            return self._product.swish(x)
        if self._activation == "quick_gelu":
            raised = self._product(x)
            return raised * torch.sigmoid(_QUICK * raised)
        return self._product.gelu(x, "tanh" if self._activation == "gelu_pytorch_tanh" else "none")
