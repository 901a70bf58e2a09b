"""The size of a dual encoder that is trained from scratch. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from vqa_ray.errors import RequestError


@dataclass(frozen=True, slots=True)
class PairShape:
    """The size of a CLIP trained from scratch; lengths in pixels, the rest counts.

    Attributes:
        hidden_size, layers, heads, intermediate_size, patch_size, image_size: of the image's tower.
        text_hidden_size, text_layers, text_heads, max_text_tokens: of the text's; its MLP is four times as wide.
        projection_size: of the vectors.
    """

    hidden_size: int = 192
    layers: int = 4
    heads: int = 3
    intermediate_size: int = 768
    patch_size: int = 16
    image_size: int = 96
    text_hidden_size: int = 128
    text_layers: int = 2
    text_heads: int = 2
    max_text_tokens: int = 32
    projection_size: int = 128

    def __post_init__(self) -> None:
        """Raises RequestError for a shape that no network can have."""
        for name, value in asdict(self).items():
            if value < 1:
                raise RequestError(f"shape: {name} is {value}, wanted at least 1")
        for name, wanted in (
            ("hidden_size", "heads"),
            ("text_hidden_size", "text_heads"),
            ("image_size", "patch_size"),
        ):
            given, divisor = getattr(self, name), getattr(self, wanted)
            if given % divisor:
                raise RequestError(f"shape: {name} {given} is not a multiple of {wanted} {divisor}")
