"""The modules of a CLIP checkpoint under the names of its own weights, without transformers; see `vilt_modules`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqa_ray.models.checkpoint.plain_weights import Conv2d, Embedding, LayerNorm, Linear, load_plain_weights
from vqa_ray.models.layers.vision_encoder import ACTIVATIONS

# The defaults of `CLIPTextConfig` and `CLIPVisionConfig` in transformers 5, for entries that config.json leaves out.
_TEXT: Mapping[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
}
_VISION: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
_PROJECTION = 512
# The `eos_token_id` of old configs: a text is then read at its highest token id.
_OLD_CLOSING = 2


def load_plain(path: Path, content: Mapping[str, Any], dtype: torch.dtype) -> ClipModules | None:
    """Load a `CLIPModel` checkpoint for inference.

    Returns:
        The modules, frozen and in evaluation mode; None where config or weights need transformers.
    """
    text, vision = (_part(content, name, defaults) for name, defaults in (("text", _TEXT), ("vision", _VISION)))
    if text is None or vision is None:
        return None
    projection = content.get("projection_dim", _PROJECTION)
    with torch.device("meta"):
        modules = ClipModules(SimpleNamespace(text_config=text, vision_config=vision, projection_dim=projection))
    return modules if load_plain_weights(modules, path, dtype) else None


def _part(content: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> SimpleNamespace | None:
    """Return the sizes of one encoder; None if they are not numbers or its activation is another."""
    given = content.get(f"{name}_config")
    # Very old configs held a second, different set of sizes.
    if not isinstance(given, dict) or f"{name}_config_dict" in content:
        return None
    part = SimpleNamespace(**{**defaults, **{key: given[key] for key in defaults if key in given}})
    sizes = (value for key, value in vars(part).items() if key not in ("hidden_act", "layer_norm_eps"))
    if part.hidden_act not in ACTIVATIONS or not all(isinstance(size, int) for size in sizes):
        return None
    return None if part.hidden_size % part.num_attention_heads else part


class ClipModules(nn.Module):
    """The parameters of a `CLIPModel`, arranged as `ClipTowers` reads them, and its text encoder.

    Args:
        config: `text_config` and `vision_config` by the names of config.json, and `projection_dim`.
    """

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config = config
        text, vision = config.text_config, config.vision_config
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.text_model = _TextEncoder(text)
        self.vision_model = _VisionEncoder(vision)
        self.visual_projection = Linear(vision.hidden_size, config.projection_dim, bias=False)
        self.text_projection = Linear(text.hidden_size, config.projection_dim, bias=False)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.logit_scale.dtype

    def text_features(self, input_ids: Tensor) -> Tensor:
        """int64 (T, L), padded on the right → (T, projection_dim), of any length."""
        projected: Tensor = self.text_projection(self.text_model(input_ids))
        return projected


class _TextEncoder(nn.Module):
    """Reads a text at its closing token, which sees all tokens before it and none of the padding behind."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self._closing = config.eos_token_id
        self.embeddings: Any = nn.Module()
        self.embeddings.token_embedding = Embedding(config.vocab_size, config.hidden_size)
        self.embeddings.position_embedding = Embedding(config.max_position_embeddings, config.hidden_size)
        self.encoder = _Encoder(config)
        self.final_layer_norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 (T, L) → (T, D)."""
        places = self.embeddings.position_embedding.weight[: input_ids.shape[1]]
        x = self.embeddings.token_embedding(input_ids) + places
        for layer in self.encoder.layers:
            x = layer(x)
        x = self.final_layer_norm(x)
        is_read = input_ids if self._closing == _OLD_CLOSING else (input_ids == self._closing).int()
        read: Tensor = x[torch.arange(len(x), device=x.device), is_read.argmax(dim=-1)]
        return read


class _VisionEncoder(nn.Module):
    """Parameters only: `VisionLayers` computes with them."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config = config
        width, patch = config.hidden_size, config.patch_size
        self.embeddings: Any = nn.Module()
        self.embeddings.class_embedding = nn.Parameter(torch.empty(width))
        self.embeddings.patch_embedding = Conv2d(
            config.num_channels, width, kernel_size=patch, stride=patch, bias=False
        )
        self.embeddings.position_embedding = Embedding((config.image_size // patch) ** 2 + 1, width)
        # The name in the published checkpoints.
        self.pre_layrnorm = LayerNorm(width, eps=config.layer_norm_eps)
        self.encoder = _Encoder(config)
        self.post_layernorm = LayerNorm(width, eps=config.layer_norm_eps)


class _Encoder(nn.Module):
    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))


class _Layer(nn.Module):
    """Causal attention and two products with an activation between, each around a residual."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        width = config.hidden_size
        self._heads, self._activation = config.num_attention_heads, config.hidden_act
        self.self_attn: Any = nn.Module()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self.self_attn, name, Linear(width, width))
        self.layer_norm1 = LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp: Any = nn.Module()
        self.mlp.fc1 = Linear(width, config.intermediate_size)
        self.mlp.fc2 = Linear(config.intermediate_size, width)
        self.layer_norm2 = LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(T, L, D) → (T, L, D)."""
        normed = self.layer_norm1(x)
        projections = (self.self_attn.q_proj, self.self_attn.k_proj, self.self_attn.v_proj)
        q, k, v = (part(normed).unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in projections)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.self_attn.out_proj(mixed)
        out: Tensor = x + self.mlp.fc2(_activated(self.mlp.fc1(self.layer_norm2(x)), self._activation))
        return out


def _activated(x: Tensor, name: str) -> Tensor:
    if name == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if name == "gelu_pytorch_tanh" else "none")
