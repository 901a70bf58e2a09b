"""Tiny chat checkpoints whose attention vLLM's CPU build accepts: heads of 32 dimensions."""

from __future__ import annotations

from collections.abc import Sequence
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


def answer_with(directory: Path, words: Sequence[str]) -> None:
    """Change the weights of a Qwen2-VL so that its answers begin with one of some words, of one token each."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    weights = directory / "model.safetensors"
    tensors = load_file(weights)
    # The bias of the last layer's values adds one vector to all that is read: it all points mostly the same way.
    last = max(name for name in tensors if name.endswith("self_attn.v_proj.bias"))
    tensors[last] += 30 * tensors[last.replace("v_proj.bias", "o_proj.weight")][0].sign()
    save_file(tensors, weights, metadata={"format": "pt"})
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    model: Any = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        prompt = tokenizer("what colour is it?<|im_end|>\n<|im_start|>assistant\n", return_tensors="pt")
        read = model(**prompt, output_hidden_states=True).hidden_states[-1][0, -1]
    for word in words:
        (token,) = tokenizer(word).input_ids
        tensors["lm_head.weight"][token] += 20 * read / read.square().sum()
    save_file(tensors, weights, metadata={"format": "pt"})


def _as_on_the_hub(weights: Path) -> None:
    """Name the tensors of the vision tower as published LLaVA checkpoints do, which vLLM expects."""
    tensors = {
        name.replace("vision_tower.", "vision_tower.vision_model.", 1) if "vision_model" not in name else name: tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(tensors, weights, metadata={"format": "pt"})
