"""Products: the truth that images show and questions ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CATEGORIES = (
    "backpack",
    "book",
    "bottle",
    "chair",
    "cushion",
    "dress",
    "handbag",
    "hat",
    "lamp",
    "mug",
    "plate",
    "shoe",
    "t-shirt",
    "trousers",
    "umbrella",
)
# sRGB, chosen far apart so that no light of `scene.light` turns one into another.
COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (28, 28, 32),
    "blue": (30, 85, 215),
    "brown": (112, 66, 34),
    "green": (30, 150, 62),
    "orange": (247, 134, 16),
    "pink": (252, 142, 192),
    "purple": (132, 44, 172),
    "red": (212, 26, 34),
    "white": (246, 246, 244),
    "yellow": (250, 222, 38),
}
PATTERNS = ("checked", "dotted", "plain", "striped", "zigzag")
MOTIFS = ("car", "cat", "dog", "fish", "flower", "heart", "star", "tree")

SHARE_WITHOUT_MOTIF = 0.45
SHARE_OF_PNG = 0.2
ASPECT_RATIOS = ((1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9))
SHORT_SIDE_PX = (200, 320)
LONG_SIDE_LIMIT_PX = 480


@dataclass(frozen=True, slots=True)
class Product:
    """One product of the catalogue. `render` draws it from these fields alone.

    Attributes:
        seed, index: of the catalogue, and of the product in it.
        category, colour, pattern: one of `CATEGORIES`, `COLOURS`, `PATTERNS`.
        motif: the print, one of `MOTIFS`, or None.
        width, height: of the image, in pixels.
        encoding: "jpeg" or "png".
        jpeg_quality: 1 to 95; unused for PNG.
        render_seed: decides everything else in the image (pose, background, light, noise, occlusion).
    """

    seed: int
    index: int
    category: str
    colour: str
    pattern: str
    motif: str | None
    width: int
    height: int
    encoding: str
    jpeg_quality: int
    render_seed: int

    @property
    def image_id(self) -> str:
        """`product-SEED-INDEX`."""
        return f"product-{self.seed}-{self.index}"

    @property
    def extension(self) -> str:
        """The file name extension of the encoded image, with the dot."""
        return ".jpg" if self.encoding == "jpeg" else ".png"


def sample_product(seed: int, index: int) -> Product:
    """Draw product number `index` of the catalogue `seed`; deterministic.

    Raises:
        ValueError: `seed` or `index` is negative.
    """
    rng = np.random.default_rng([seed, index])
    category = CATEGORIES[rng.integers(len(CATEGORIES))]
    colour = tuple(COLOURS)[rng.integers(len(COLOURS))]
    pattern = PATTERNS[rng.integers(len(PATTERNS))]
    motif = None if rng.random() < SHARE_WITHOUT_MOTIF else MOTIFS[rng.integers(len(MOTIFS))]
    across, down = ASPECT_RATIOS[rng.integers(len(ASPECT_RATIOS))]
    ratio = max(across, down) / min(across, down)
    short = int(rng.integers(SHORT_SIDE_PX[0], SHORT_SIDE_PX[1] + 1))
    short = min(short, int(LONG_SIDE_LIMIT_PX / ratio))
    long = round(short * ratio)
    return Product(
        seed=seed,
        index=index,
        category=category,
        colour=colour,
        pattern=pattern,
        motif=motif,
        width=long if across >= down else short,
        height=short if across >= down else long,
        encoding="png" if rng.random() < SHARE_OF_PNG else "jpeg",
        jpeg_quality=int(rng.integers(60, 96)),
        render_seed=int(rng.integers(2**63)),
    )
