"""RandAugment (Cubuk et al. 2019) as ViLT was fine-tuned with it; light, no torch.

Operations and ranges are those of ViLT's `vilt/transforms/randaug.py`, which has them from ildoonet's
pytorch-randaugment and TensorFlow's `efficientnet/autoaugment.py`: without Invert and Cutout, and without any flip,
since questions ask for left and right. What they uncover is black, and what they move is not interpolated, as there;
it would take more than ten times as long.

It is applied at the model's own size, after the resize, and not to the source as there: an image then costs the same
whatever was brought. All magnitudes are angles, shares or levels, so that they mean the same at any size; the one
that was in pixels, translation, is a share of the longer edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageEnhance, ImageOps

from vqa_ray.errors import RequestError
from vqa_ray.types import Image

MAX_MAGNITUDE = 30

Operation = Callable[[PillowImage.Image, float], PillowImage.Image]

# Up to 100 pixels there, of photos whose longer edge mostly has 640 (COCO).
_LARGEST_SHIFT = 100 / 640
_SOLARIZE_AT = 128
_CHANNELS = 3


def _solarize_add(image: PillowImage.Image, addition: float) -> PillowImage.Image:
    brighter = [min(level + int(addition), 255) for level in range(256)]
    return ImageOps.solarize(image.point(brighter * _CHANNELS), _SOLARIZE_AT)


def _moved(image: PillowImage.Image, matrix: tuple[float, ...]) -> PillowImage.Image:
    return image.transform(image.size, PillowImage.Transform.AFFINE, matrix)


# Name → operation, and its argument at magnitude 0 and at the largest.
_COLOURS: dict[str, tuple[Operation, float, float]] = {
    "auto_contrast": (lambda image, _: ImageOps.autocontrast(image), 0, 1),
    "equalize": (lambda image, _: ImageOps.equalize(image), 0, 1),
    "posterize": (lambda image, bits: ImageOps.posterize(image, max(1, int(bits))), 0, 4),
    "solarize": (lambda image, threshold: ImageOps.solarize(image, math.ceil(threshold)), 0, 256),
    "solarize_add": (_solarize_add, 0, 110),
    "colour": (lambda image, factor: ImageEnhance.Color(image).enhance(factor), 0.1, 1.9),
    "contrast": (lambda image, factor: ImageEnhance.Contrast(image).enhance(factor), 0.1, 1.9),
    "brightness": (lambda image, factor: ImageEnhance.Brightness(image).enhance(factor), 0.1, 1.9),
    "sharpness": (lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor), 0.1, 1.9),
}
# These go either way, by a fair coin.
_MOVES: dict[str, tuple[Operation, float, float]] = {
    "rotate": (lambda image, degrees: image.rotate(degrees), 0, 30),
    "shear_x": (lambda image, share: _moved(image, (1, share, 0, 0, 1, 0)), 0, 0.3),
    "shear_y": (lambda image, share: _moved(image, (1, 0, 0, share, 1, 0)), 0, 0.3),
    "translate_x": (lambda image, share: _moved(image, (1, 0, share * max(image.size), 0, 1, 0)), 0, _LARGEST_SHIFT),
    "translate_y": (lambda image, share: _moved(image, (1, 0, 0, 0, 1, share * max(image.size))), 0, _LARGEST_SHIFT),
}
_TABLE = _COLOURS | _MOVES

GEOMETRIC = tuple(_MOVES)
"""The operations that move pixels and leave colours as they are."""
OPERATIONS = tuple(_TABLE)
"""All operations."""


@dataclass(frozen=True, slots=True)
class RandAugment:
    """So many operations drawn at random, with repetition, one after the other.

    Attributes:
        num_ops: how many; 0 leaves images as they are.
        magnitude: 0 to `MAX_MAGNITUDE`; ViLT took 9.
        operations: names to draw from.
    """

    num_ops: int = 2
    magnitude: int = 9
    operations: Sequence[str] = OPERATIONS

    def __post_init__(self) -> None:
        """Raise a RequestError for what cannot be drawn."""
        if self.num_ops < 0:
            raise RequestError(f"augmentation: num_ops is {self.num_ops}, wanted at least 0")
        if not 0 <= self.magnitude <= MAX_MAGNITUDE:
            raise RequestError(f"augmentation: magnitude is {self.magnitude}, wanted 0 to {MAX_MAGNITUDE}")
        unknown = [name for name in self.operations if name not in _TABLE]
        if unknown or not self.operations:
            given = ", ".join(self.operations) or "none"
            raise RequestError(f"augmentation: operations are {given}; there are {', '.join(OPERATIONS)}")

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Change an image.

        Args:
            image: uint8 (H, W, 3).
            rng: decides; advanced equally far for every image.

        Returns:
            uint8 (H, W, 3) of the same size.
        """
        drawn = rng.integers(len(self.operations), size=self.num_ops).tolist()
        backwards = rng.random(self.num_ops) < 0.5
        changed = PillowImage.fromarray(image)
        for index, backward in zip(drawn, backwards, strict=True):
            name = self.operations[index]
            operation, least, most = _TABLE[name]
            argument = least + (most - least) * self.magnitude / MAX_MAGNITUDE
            changed = operation(changed, -argument if backward and name in _MOVES else argument)
        return np.asarray(changed)


def row_generator(seed: int, step: int, source_key: int) -> np.random.Generator:
    """Return the generator of one row at one step: the same wherever the row is read.

    Args:
        seed: of the training.
        step: at least 0.
        source_key: of the row.
    """
    return np.random.default_rng([seed, step, source_key])
