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


def _auto_contrast(image: PillowImage.Image, _: float) -> PillowImage.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: PillowImage.Image, _: float) -> PillowImage.Image:
    return ImageOps.equalize(image)


def _posterize(image: PillowImage.Image, bits: float) -> PillowImage.Image:
    return ImageOps.posterize(image, max(1, int(bits)))


def _solarize(image: PillowImage.Image, threshold: float) -> PillowImage.Image:
    return ImageOps.solarize(image, math.ceil(threshold))


def _solarize_add(image: PillowImage.Image, addition: float) -> PillowImage.Image:
    brighter = [min(level + int(addition), 255) for level in range(256)]
    return ImageOps.solarize(image.point(brighter * _CHANNELS), _SOLARIZE_AT)


def _colour(image: PillowImage.Image, factor: float) -> PillowImage.Image:
    return ImageEnhance.Color(image).enhance(factor)


def _contrast(image: PillowImage.Image, factor: float) -> PillowImage.Image:
    return ImageEnhance.Contrast(image).enhance(factor)


def _brightness(image: PillowImage.Image, factor: float) -> PillowImage.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _sharpness(image: PillowImage.Image, factor: float) -> PillowImage.Image:
    return ImageEnhance.Sharpness(image).enhance(factor)


def _rotate(image: PillowImage.Image, degrees: float) -> PillowImage.Image:
    return image.rotate(degrees)


def _shear_x(image: PillowImage.Image, share: float) -> PillowImage.Image:
    return _moved(image, (1, share, 0, 0, 1, 0))


def _shear_y(image: PillowImage.Image, share: float) -> PillowImage.Image:
    return _moved(image, (1, 0, 0, share, 1, 0))


def _translate_x(image: PillowImage.Image, share: float) -> PillowImage.Image:
    return _moved(image, (1, 0, share * max(image.size), 0, 1, 0))


def _translate_y(image: PillowImage.Image, share: float) -> PillowImage.Image:
    return _moved(image, (1, 0, 0, 0, 1, share * max(image.size)))


def _moved(image: PillowImage.Image, matrix: tuple[float, ...]) -> PillowImage.Image:
    return image.transform(image.size, PillowImage.Transform.AFFINE, matrix)


# Name → operation, and its argument at magnitude 0 and at the largest.
_COLOURS: dict[str, tuple[Operation, float, float]] = {
    "auto_contrast": (_auto_contrast, 0, 1),
    "equalize": (_equalize, 0, 1),
    "posterize": (_posterize, 0, 4),
    "solarize": (_solarize, 0, 256),
    "solarize_add": (_solarize_add, 0, 110),
    "colour": (_colour, 0.1, 1.9),
    "contrast": (_contrast, 0.1, 1.9),
    "brightness": (_brightness, 0.1, 1.9),
    "sharpness": (_sharpness, 0.1, 1.9),
}
# These go either way, by a fair coin.
_MOVES: dict[str, tuple[Operation, float, float]] = {
    "rotate": (_rotate, 0, 30),
    "shear_x": (_shear_x, 0, 0.3),
    "shear_y": (_shear_y, 0, 0.3),
    "translate_x": (_translate_x, 0, _LARGEST_SHIFT),
    "translate_y": (_translate_y, 0, _LARGEST_SHIFT),
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
