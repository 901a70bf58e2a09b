"""A chat model that training starts from, looked into and checked without its weights. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_ray.errors import RequestError
from vqa_ray.models.checkpoint.adapter import adapter_of
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.trained_families import LEARNING_CONVERSATIONS, learns_conversations
from vqa_ray.training.start import StartInfo


def open_chat(checkpoint: Checkpoint) -> StartInfo:
    """Check that a training can start from a checkpoint.

    Raises:
        RequestError: it is no chat model with weights of its own.
    """
    family, label = checkpoint.family, checkpoint.label
    if checkpoint.path is None or not learns_conversations(family):
        raise RequestError(
            f"{label}: cannot be trained with --task chat: {family.display_name} is none of "
            f"{', '.join(sorted(LEARNING_CONVERSATIONS))}; a ViLT is trained with --task vqa, a CLIP with --task "
            "contrastive"
        )
    if adapter_of(checkpoint.path) is not None:
        raise RequestError(
            f"{label}: is a LoRA adapter; train from its base model, or from a merged directory (--lora-export merged)"
        )
    text = checkpoint.config.get("text_config") or checkpoint.config
    return StartInfo(
        reference=checkpoint.reference,
        pinned=checkpoint.pinned,
        path=checkpoint.path,
        architecture=str((checkpoint.config.get("architectures") or [family.name])[0]),
        vocabulary=None,
        max_text_tokens=int(text.get("max_position_embeddings") or 2**31),
        transform=checkpoint.transform,
        fingerprint=checkpoint.fingerprint,
        notes=checkpoint.notes,
        family=family.name,
        revisions=checkpoint.revisions,
        dtype=_dtype(checkpoint.config),
    )


def _dtype(config: Mapping[str, Any]) -> str:
    """Return the dtype that a config states, of itself or of its language model; float32 where it states none."""
    parts = (config, config.get("text_config") or {})
    stated = (part.get(name) for part in parts for name in ("dtype", "torch_dtype"))
    return next((str(name) for name in stated if name in ("float32", "bfloat16", "float16")), "float32")
