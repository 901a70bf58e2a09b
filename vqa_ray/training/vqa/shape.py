"""The size of a ViLT that is trained from scratch. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vqa_ray.models.transforms.vilt import ViltTransform
from vqa_ray.training.shape import NetworkShape


@dataclass(frozen=True, slots=True)
class ViltShape(NetworkShape):
    """The size of a ViLT trained from scratch; lengths in pixels, the rest counts."""

    MULTIPLES: ClassVar = (("hidden_size", "heads"), ("shortest_edge", "patch_size"))

    hidden_size: int = 192
    layers: int = 4
    heads: int = 3
    intermediate_size: int = 768
    patch_size: int = 16
    shortest_edge: int = 112
    max_text_tokens: int = 40

    @property
    def transform(self) -> ViltTransform:
        """The size that images must have."""
        return ViltTransform(self.shortest_edge, self.patch_size)
