"""The sizes that a checkpoint's config.json states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vqa_ray.errors import ModelLoadError

# Without one of each there is no network, whatever its family.
_SIZES = frozenset(
    (
        *("hidden_size", "embed_dim", "d_model", "head_dim", "vocab_size"),
        *("num_attention_heads", "num_key_value_heads", "num_heads"),
        *("encoder_attention_heads", "decoder_attention_heads"),
        *("num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers", "depth", "depths"),
        *("image_size", "patch_size", "temporal_patch_size", "spatial_merge_size"),
        *("num_channels", "in_channels", "in_chans"),
    )
)
# Some families do without: token types, a projection, dense layers beside experts.
_OPTIONAL = frozenset(
    (
        *("intermediate_size", "ffn_dim", "projection_dim", "encoder_hidden_size"),
        *("max_position_embeddings", "type_vocab_size", "modality_type_vocab_size", "num_query_tokens"),
    )
)


def check_sizes(config: Mapping[str, Any], label: str) -> None:
    """Check that a network can have the sizes, those of its parts included.

    Otherwise building it ends in an error that names no setting, or it answers without its layers. Sizes that are no
    integers are left to transformers, which names them.

    Args:
        config: config.json.
        label: what messages begin with.

    Raises:
        ModelLoadError: one is too small.
    """
    for name, size in _sizes(config, ""):
        least = 0 if name.rpartition(".")[2] in _OPTIONAL else 1
        if size < least:
            raise ModelLoadError(f"{label}: config.json: {name} is {size}; it must be at least {least}")


def _sizes(config: Mapping[str, Any], above: str) -> Iterator[tuple[str, int]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{above}{name}.")
        elif name in _SIZES or name in _OPTIONAL:
            several = value if isinstance(value, list) else [value]
            yield from ((above + name, size) for size in several if type(size) is int)
