"""The modules of a ViLT checkpoint under the names of its own weights, without transformers.

Importing transformers' model classes takes several times as long as loading the weights of a ViLT. `ViltNetwork` needs
their parameters only, which `load_plain` reads from any checkpoint that needs no conversion.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from vqa_ray.models.checkpoint.plain_weights import Conv2d, Embedding, LayerNorm, Linear, load_plain_weights

# The defaults of `ViltConfig` in transformers 5, for entries that config.json leaves out.
_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 30522,
    "type_vocab_size": 2,
    "modality_type_vocab_size": 2,
    "max_position_embeddings": 40,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 384,
    "patch_size": 32,
    "num_channels": 3,
    "qkv_bias": True,
    "max_image_length": -1,
}


def load_plain(path: Path, content: Mapping[str, Any], dtype: torch.dtype) -> ViltModules | None:
    """Load a `ViltForQuestionAnswering` checkpoint for inference.

    Returns:
        The modules, frozen and in evaluation mode; None where config or weights need transformers: another activation,
        weights that are not safetensors, or whose names or shapes differ.
    """
    config = SimpleNamespace(**{**_DEFAULTS, **{name: content[name] for name in _DEFAULTS if name in content}})
    sizes = (value for name, value in vars(config).items() if name not in ("hidden_act", "layer_norm_eps"))
    if config.hidden_act != "gelu" or not all(isinstance(size, int) for size in sizes):
        return None
    labels = content.get("id2label")
    if not isinstance(labels, dict) or config.hidden_size % config.num_attention_heads:
        return None
    with torch.device("meta"):
        modules = ViltModules(config, len(labels))
    return modules if load_plain_weights(modules, path, dtype) else None


class ViltModules(nn.Module):
    """The parameters of a `ViltForQuestionAnswering`, arranged as `ViltNetwork` reads them.

    Args:
        config: sizes by the names of config.json.
        num_labels: answers in the vocabulary.
    """

    def __init__(self, config: SimpleNamespace, num_labels: int) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.vilt = nn.Module()
        self.vilt.embeddings = _Embeddings(config)
        self.vilt.encoder = nn.Module()
        self.vilt.encoder.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.vilt.layernorm = LayerNorm(width, eps=config.layer_norm_eps)
        self.vilt.pooler = _Pooler(width)
        self.classifier = nn.Sequential(
            Linear(width, 2 * width), LayerNorm(2 * width), nn.GELU(), Linear(2 * width, num_labels)
        )


class _Embeddings(nn.Module):
    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.text_embeddings = _TextEmbeddings(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.patch_embeddings = nn.Module()
        self.patch_embeddings.projection = Conv2d(config.num_channels, width, kernel_size=patch, stride=patch)
        self.position_embeddings = nn.Parameter(torch.empty(1, (config.image_size // patch) ** 2 + 1, width))
        self.token_type_embeddings = Embedding(config.modality_type_vocab_size, width)
        self.dropout = nn.Identity()


class _TextEmbeddings(nn.Module):
    """Words with their places and the type of a first sentence, normalised."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, width)
        self.position_embeddings = Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = Embedding(config.type_vocab_size, width)
        self.LayerNorm = LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 (N, L) → (N, L, D)."""
        places = self.position_embeddings.weight[: input_ids.shape[1]]
        # In the order of the stock module, so that bfloat16 rounds alike.
        x = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0] + places
        normed: Tensor = self.LayerNorm(x)
        return normed


class _Layer(nn.Module):
    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        width, bias = config.hidden_size, config.qkv_bias
        self.attention = nn.Module()
        self.attention.attention = nn.Module()
        for name in ("query", "key", "value"):
            setattr(self.attention.attention, name, Linear(width, width, bias=bias))
        self.attention.output = nn.Module()
        self.attention.output.dense = Linear(width, width)
        self.intermediate = nn.Module()
        self.intermediate.dense = Linear(width, config.intermediate_size)
        self.output = nn.Module()
        self.output.dense = Linear(config.intermediate_size, width)
        self.layernorm_before = LayerNorm(width, eps=config.layer_norm_eps)
        self.layernorm_after = LayerNorm(width, eps=config.layer_norm_eps)


class _Pooler(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, D) → (N, D), of the first token."""
        pooled: Tensor = torch.tanh(self.dense(x[:, 0]))
        return pooled
