"""What a training can learn, by name. No torch."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Task: TypeAlias = Literal["vqa", "contrastive"]

VQA: Final = "vqa"
"""Answers to questions about images: a ViLT."""

CONTRASTIVE: Final = "contrastive"
"""Which caption belongs to which image: a CLIP."""
