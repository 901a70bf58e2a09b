"""The families that a training can begin with. No torch."""

from __future__ import annotations

from vqa_ray.models.registry import Family

# Those whose prompts and positions in training are tested to be those of inference.
LEARNING_CONVERSATIONS = frozenset(
    (
        *("llava", "llava_next", "llava_onevision", "internvl", "idefics2", "idefics3", "smolvlm"),
        *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "blip-2", "instructblip"),
    )
)
_TRAINED = {"vilt": ("finetune",), "clip": ("finetune --task contrastive",)}


def learns_conversations(family: Family) -> bool:
    """Return whether `finetune --task chat` trains a family."""
    return "answer" in family.tasks and family.name in LEARNING_CONVERSATIONS


def trainings_of(family: Family) -> tuple[str, ...]:
    """Return the commands that train a family."""
    return ("finetune --task chat",) if learns_conversations(family) else _TRAINED.get(family.name, ())
