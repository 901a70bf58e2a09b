"""How well `bundled:catalog-vilt` tells photos from the rendered products that it knows.

`python -m benchmarks.familiarity FILE` measures training products anew and writes the file that ships with the model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks import photos
from benchmarks.report import Measured, figure
from benchmarks.settings import Settings
from vqa_ray.images.decoder import ImageLimits, decode
from vqa_ray.images.resize import resize
from vqa_ray.models.checkpoint.files import local_directory
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.familiarity import FILE, Familiarity
from vqa_ray.types import Image

_MODEL = "bundled:catalog-vilt"
# The first lesson's seed, and one that the model has not seen.
_TRAINED, _UNSEEN = 1000, 7_000_001
_REFERENCES, _IMAGES = 2_500, 1_000
_FALSE_ALARMS = 0.015


def measure(settings: Settings) -> Measured:
    """Return the share of unseen products that are warned of, and of photos that are."""
    count = settings.pick(_IMAGES, 16)
    familiarity = Familiarity.read(local_directory(_MODEL) / FILE)
    unseen = float(np.mean(familiarity.is_unlike(products(_UNSEEN, count))))
    figures = [figure(f"{count} unseen rendered products: warned of, wrongly", [unseen], "", at_most=0.03)]
    if photos.has_photos():
        seen = [_sized(data) for data in photos.encoded(count)]
        figures.append(figure(f"{count} product photos: warned of", [float(np.mean(familiarity.is_unlike(seen)))], ""))
    return Measured(figures, [photos.source()])


def products(seed: int, count: int) -> list[Image]:
    """Return rendered products at the model's own size: uint8 (H, W, 3)."""
    return [_sized(photos.rendered(index, seed)) for index in range(count)]


def _sized(data: bytes) -> Image:
    decoded = decode(data, ImageLimits())
    return resize(decoded, *Checkpoint.open(_MODEL).transform.target_size(*decoded.shape[:2]))


def main() -> None:
    """Write the measurements of training products to the file named on the command line."""
    Familiarity.fit(products(_TRAINED, _REFERENCES), _FALSE_ALARMS).write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
