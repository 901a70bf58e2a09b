"""The size of a dual encoder that is trained from scratch. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vqa_ray.models.transforms.clip import ClipTransform
from vqa_ray.training.shape import NetworkShape

# Of images that are trained on from scratch: to -1…1, as ViLT has them.
_HALF = (0.5, 0.5, 0.5)
_BICUBIC = 3


@dataclass(frozen=True, slots=True)
class ClipShape(NetworkShape):
    """The size of a CLIP trained from scratch; lengths in pixels, the rest counts.

    Attributes:
        image_size: both sides of an image; `hidden_size` to `patch_size` are of the image tower too.
        text_hidden_size: width of the text tower, whose MLP is four times as wide.
        projection_size: of the vectors.
    """

    MULTIPLES: ClassVar = (
        ("hidden_size", "heads"),
        ("text_hidden_size", "text_heads"),
        ("image_size", "patch_size"),
    )

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

    @property
    def image_processor(self) -> Mapping[str, Any]:
        """The settings of the image processor: both sides to one size, nothing cut off."""
        size = {"height": self.image_size, "width": self.image_size}
        return {
            "size": size,
            "crop_size": size,
            "do_center_crop": False,
            "do_resize": True,
            "do_rescale": True,
            "do_normalize": True,
            "do_convert_rgb": True,
            "resample": _BICUBIC,
            "rescale_factor": 1 / 255,
            "image_mean": list(_HALF),
            "image_std": list(_HALF),
        }

    @property
    def transform(self) -> ClipTransform:
        """The size that images must have."""
        return ClipTransform.from_config(self.image_processor, "the network to train")
