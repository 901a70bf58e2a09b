"""A LoRA adapter as vLLM takes it: beside the base model's weights, applied to each request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.adapter_fit import lora_shapes
from vqa_ray.models.checkpoint.merge_adapter import replaced_weights
from vqa_ray.models.checkpoint.opened import Checkpoint

# Of vLLM's `max_lora_rank`.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# In the names of the layers that vLLM adapts.
_LANGUAGE = ("language_model.", "text_model.", "model.layers.", "lm_head")


def check_adapter(checkpoint: Checkpoint, label: str) -> None:
    """Refuse an adapter that vLLM would leave out in part or cannot take.

    Raises:
        RequestError: it is of a larger rank, changes other parts than the language model, or brings weights whole.
    """
    adapter = None if checkpoint.path is None else adapter_of(checkpoint.path)
    if adapter is None:
        return
    layers = lora_shapes(adapter, label)
    outside = next((layer for layer in layers if not any(part in layer for part in _LANGUAGE)), None)
    instead = "use --engine transformers, or merge the adapter into its base"
    if outside is not None:
        raise RequestError(
            f"{label}: its adapter changes {outside}, and vLLM adapts the language model alone; {instead}"
        )
    whole = sorted(replaced_weights(adapter))
    if whole:
        raise RequestError(f"{label}: its adapter brings {whole[0]} whole, which vLLM does not take; {instead}")
    rank = max((rank for _, rank, _ in layers.values()), default=0)
    if rank > _RANKS[-1]:
        raise RequestError(f"{label}: its adapter has rank {rank}, and vLLM takes at most {_RANKS[-1]}; {instead}")


def adapter_options(adapter: Path | None) -> Mapping[str, Any]:
    """Return the options of an engine that applies an adapter; none without one."""
    if adapter is None:
        return {}
    rank = max((rank for _, rank, _ in lora_shapes(adapter, f"adapter {adapter}").values()), default=_RANKS[-1])
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": next(each for each in _RANKS if each >= rank)}
