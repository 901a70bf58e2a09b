"""Tiny chat checkpoints whose attention vLLM's CPU build accepts: heads of 32 dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from safetensors.torch import load_file, save_file

from tests.helpers import tiny_chat, tiny_chat_more
from tests.helpers.tiny_chat_text import text_config

_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
_MROPE = {"rope_parameters": {**_ROPE, "mrope_section": [4, 6, 6]}}
# Qwen3-VL's axes alternate; transformers takes this for granted, vLLM reads it from the config, where published
# checkpoints say it.
_INTERLEAVED = {"rope_parameters": {**_ROPE, "mrope_section": [6, 5, 5], "mrope_interleaved": True}}


def _one_head(tokenizer: Any, **more: Any) -> dict[str, Any]:
    wider = {"num_attention_heads": 1, "num_key_value_heads": 1, **({"head_dim": 32} if "head_dim" in more else {})}
    return text_config(tokenizer, **(more | wider))


def save(directory: Path, family: str) -> Path:
    """Write a checkpoint of a family of `tiny_chat.FAMILIES`."""
    with (
        patch.object(tiny_chat, "text_config", _one_head),
        patch.object(tiny_chat_more, "text_config", _one_head),
        patch.object(tiny_chat, "_MROPE", _INTERLEAVED if family == "qwen3_vl" else _MROPE),
    ):
        tiny_chat.save_tiny_chat(directory, family)
    if family in ("llava", "llava_next", "llava_onevision"):
        _as_on_the_hub(directory / "model.safetensors")
    return directory


def _as_on_the_hub(weights: Path) -> None:
    """Name the tensors of the vision tower as published LLaVA checkpoints do, which vLLM expects."""
    tensors = {
        name.replace("vision_tower.", "vision_tower.vision_model.", 1) if "vision_model" not in name else name: tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(tensors, weights, metadata={"format": "pt"})
