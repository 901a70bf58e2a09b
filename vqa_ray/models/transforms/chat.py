"""The size in which images go to a chat model: small enough to travel, large enough for its own processor. No torch.

A chat processor tiles, pads or crops by rules of its own, which run beside the model. Where the first thing it does is
a bicubic resize of known size, that resize happens here, on the CPU tasks, and the processor's becomes the identity.
Any other processor gets the image as it is, bounded by `LONGEST_EDGE`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from vqa_ray.errors import ErrorCode, ModelLoadError, RequestError, RowError
from vqa_ray.types import ImageTransform

# Above what the processors that it stands before make of an image of usual shape (LLaVA-OneVision reaches 2,304).
LONGEST_EDGE = 2_304
_BICUBIC = 3
_MAX_ASPECT_RATIO = 200
# Image processors that shrink to a shortest edge and then crop the middle, or resize to one square.
_PLAIN = ("CLIPImageProcessor", "SiglipImageProcessor", "ViTImageProcessor")
_SMART = ("Qwen2VLImageProcessor", "Qwen3VLImageProcessor")
# These count the pixels of a still image once for each frame of their temporal patch.
_SMART_WITH_FRAMES = ("Glm4vImageProcessor", "Glm46VImageProcessor")
_SMART_PADDLE = "PaddleOCRVLImageProcessor"


@dataclass(frozen=True, slots=True)
class Bounded:
    """The image as it is; one with a longer side of more than `longest_edge` pixels is made smaller."""

    longest_edge: int = LONGEST_EDGE

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels.

        Raises:
            RowError: `image_aspect_ratio` when one side is more than 200 times the other.
        """
        _check_ratio(height, width)
        scale = min(1.0, self.longest_edge / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True, slots=True)
class ShortestEdge:
    """Shorter side to `size` pixels, the longer one in proportion, rounded down: CLIP before its crop."""

    size: int

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels.

        Raises:
            RowError: `image_aspect_ratio` when one side is more than 200 times the other.
        """
        _check_ratio(height, width)
        if height <= width:
            return self.size, int(self.size * width / height)
        return int(self.size * height / width), self.size


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every image to one size, in pixels."""

    height: int
    width: int

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels, whatever the source's."""
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class WholePatches:
    """Both sides to multiples of `factor`, with an area between the bounds, in pixels: Qwen-VL's `smart_resize`.

    Attributes:
        frames: how often a pixel counts against the bounds.
        growth: how an image with a side below `factor` first grows to it: GLM rounds the other side down, PaddleOCR-VL
            to the nearest; Qwen-VL has no such step.
    """

    factor: int
    min_pixels: int
    max_pixels: int
    frames: int = 1
    growth: Literal["none", "down", "nearest"] = "none"

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels.

        Raises:
            RowError: `image_aspect_ratio` when one side is more than 200 times the other.
        """
        height, width = self._grown(height, width)
        _check_ratio(height, width)
        tall, wide = (round(side / self.factor) * self.factor for side in (height, width))
        if self.frames * tall * wide > self.max_pixels:
            shrink = math.sqrt(self.frames * height * width / self.max_pixels)
            tall, wide = (max(1, math.floor(side / shrink / self.factor)) * self.factor for side in (height, width))
        elif self.frames * tall * wide < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (self.frames * height * width))
            tall, wide = (math.ceil(side * grow / self.factor) * self.factor for side in (height, width))
        return tall, wide

    def limited(self, pixels: int) -> WholePatches:
        """Return the transform with an upper bound of `pixels`; small images grow to a quarter of it at most."""
        most = min(self.frames * pixels, self.max_pixels)
        return replace(self, min_pixels=min(self.min_pixels, most // 4), max_pixels=most)

    @property
    def kept_size(self) -> dict[str, int]:
        """The `size` with which an image processor leaves images of this transform as they are."""
        return {"shortest_edge": self.factor**2, "longest_edge": self.max_pixels}

    def _grown(self, height: int, width: int) -> tuple[int, int]:
        if self.growth == "none" or min(height, width) >= self.factor:
            return height, width
        if self.growth == "down":
            scale = max(self.factor / height, self.factor / width)
            return int(height * scale), int(width * scale)
        if height < self.factor:
            height, width = self.factor, round(width * self.factor / height)
        if width < self.factor:
            height, width = round(height * self.factor / width), self.factor
        return height, width


def transform_from_config(config: Mapping[str, Any], label: str) -> ImageTransform:
    """Make the transform that runs before a checkpoint's image processor.

    Args:
        config: the image processor's settings, see `checkpoint.image_processor_config`.
        label: who is named in an error, `model DIRECTORY`.

    Raises:
        ModelLoadError: its sizes cannot be read.
    """
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    kind = kind.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    if not config.get("do_resize", True) or config.get("resample", _BICUBIC) != _BICUBIC:
        return Bounded()
    if kind in _SMART:
        return _whole_patches(config, label, (56 * 56, 28 * 28 * 1280))
    if kind in _SMART_WITH_FRAMES:
        frames = int(config.get("temporal_patch_size") or 2)
        return replace(_whole_patches(config, label, (112 * 112, 28 * 28 * 15_000)), frames=frames, growth="down")
    if kind == _SMART_PADDLE:
        return replace(_whole_patches(config, label, (384 * 384, 1536 * 1536)), growth="nearest")
    if kind in _PLAIN and not config.get("do_pad"):
        return _plain(config)
    return Bounded()


def within_pixels(transform: ImageTransform, pixels: int, label: str) -> WholePatches:
    """Bound the area of a model's images.

    Args:
        transform: of the model.
        pixels: the largest area; an image whose sides are too unequal for it keeps one patch across.
        label: who is named in an error, `model DIRECTORY`.

    Raises:
        RequestError: the model does not see images in their own sizes, or the bound is less than one patch.
    """
    option = f"--max-pixels {pixels}: {label}"
    if not isinstance(transform, WholePatches):
        raise RequestError(
            f"{option}: its image processor decides the size or the tiles of an image; the option is for models that "
            "see an image in its own size, such as Qwen-VL"
        )
    if pixels < transform.factor**2:
        side = transform.factor
        raise RequestError(f"{option}: an image token stands for {side}x{side} pixels; wanted at least {side**2}")
    return transform.limited(pixels)


def whole_square(config: Mapping[str, Any], label: str) -> ImageTransform:
    """Make the transform of KOSMOS-2, whose boxes are parts of a square that the whole image was resized to.

    Raises:
        ModelLoadError: its image processor crops images.
    """
    transform = transform_from_config(config, label)
    if not isinstance(transform, Fixed):
        raise ModelLoadError(
            f"{label}: its image processor crops images, so that its boxes would lie elsewhere; wanted is a size of "
            "height and width"
        )
    return transform


def _plain(config: Mapping[str, Any]) -> ImageTransform:
    size = config.get("size")
    if config.get("use_square_size") and isinstance(size, Mapping) and "shortest_edge" in size:
        # Of KOSMOS-2 in its first form.
        size = dict.fromkeys(("height", "width"), size["shortest_edge"])
    if isinstance(size, int):
        return ShortestEdge(size)
    if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
        return ShortestEdge(int(size["shortest_edge"]))
    if isinstance(size, Mapping) and set(size) == {"height", "width"}:
        return Fixed(int(size["height"]), int(size["width"]))
    return Bounded()


def _whole_patches(config: Mapping[str, Any], label: str, bounds: tuple[int, int]) -> WholePatches:
    """Sizes of a processor; `bounds` are the areas of one that names none."""
    size = config.get("size") or {}
    # The older layout names the areas min_pixels and max_pixels; it wins, as in transformers.
    least = config.get("min_pixels") or size.get("shortest_edge") or bounds[0]
    most = config.get("max_pixels") or size.get("longest_edge") or bounds[1]
    factor = int(config.get("patch_size", 14)) * int(config.get("merge_size", 2))
    if not 0 < int(least) <= int(most):
        raise ModelLoadError(f"{label}: the image processor allows {least} to {most} pixels, an empty range")
    return WholePatches(factor, int(least), int(most))


def _check_ratio(height: int, width: int) -> None:
    if max(height, width) > _MAX_ASPECT_RATIO * min(height, width):
        raise RowError(
            ErrorCode.IMAGE_ASPECT_RATIO,
            f"image of {width}x{height} pixels: one side is more than {_MAX_ASPECT_RATIO} times the other",
        )
