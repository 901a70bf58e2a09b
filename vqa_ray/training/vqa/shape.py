"""The size of a ViLT that is trained from scratch. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from vqa_ray.errors import RequestError
from vqa_ray.models.transforms.vilt import ViltTransform


@dataclass(frozen=True, slots=True)
class ViltShape:
    """The size of a ViLT trained from scratch; lengths in pixels, the rest counts."""

    hidden_size: int = 192
    layers: int = 4
    heads: int = 3
    intermediate_size: int = 768
    patch_size: int = 16
    shortest_edge: int = 112
    max_text_tokens: int = 40

    def __post_init__(self) -> None:
        """Raises RequestError for a shape that no network can have."""
        for name, value in asdict(self).items():
            if value < 1:
                raise RequestError(f"shape: {name} is {value}, wanted at least 1")
        if self.hidden_size % self.heads:
            raise RequestError(f"shape: hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        if self.shortest_edge % self.patch_size:
            raise RequestError(
                f"shape: shortest_edge {self.shortest_edge} is not a multiple of patch_size {self.patch_size}"
            )


def transform_of(shape: ViltShape) -> ViltTransform:
    """The image transform that goes with a shape."""
    return ViltTransform(shape.shortest_edge, shape.patch_size)
