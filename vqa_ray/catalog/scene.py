"""What is around a product in its picture: background, light, noise and something in the way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vqa_ray.catalog.geometry import Polygon, ellipse, rounded

Colour = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]

# Muted, so that a background is not taken for the product's own colour.
_TONES: tuple[Colour, ...] = (
    (232, 230, 224),
    (208, 212, 216),
    (176, 182, 190),
    (214, 202, 182),
    (190, 206, 196),
    (186, 200, 216),
    (216, 196, 200),
    (128, 134, 142),
    (98, 108, 120),
    (120, 128, 112),
    (62, 66, 74),
)
_WOODS: tuple[Colour, ...] = ((206, 174, 132), (182, 148, 108), (222, 200, 164))
_LEAST_DISTANCE = 95.0

# The normal distribution in 256 equally likely steps, standard deviation 1 (to two decimals): noise by table look-up.
_NORMAL = np.sort(np.random.default_rng(0).standard_normal(65536)).reshape(256, 256).mean(axis=1).astype(np.float32)


def _apart(tones: tuple[Colour, ...], colour: Colour) -> list[Colour]:
    return [t for t in tones if np.hypot.reduce(np.subtract(t, colour, dtype=np.float64)) >= _LEAST_DISTANCE]


def background(width: int, height: int, product_colour: Colour, rng: np.random.Generator) -> Pixels:
    """Make a background that stands apart from `product_colour`: uint8 (height, width, 3)."""
    tones = _apart(_TONES, product_colour)
    woods = _apart(_WOODS, product_colour)
    tone = np.array(tones[rng.integers(len(tones))], dtype=np.float32)
    other = np.array(tones[rng.integers(len(tones))], dtype=np.float32)
    kind = int(rng.integers(4))
    if kind == 0:
        rows = np.broadcast_to(tone, (height, 3))
    elif kind == 1:
        rows = tone + (other - tone) * np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    elif kind == 2 or not woods:
        floor = int(height * rng.uniform(0.55, 0.85))
        rows = np.where(np.arange(height)[:, None] < floor, tone, other)
    else:
        rows = _wood(height, np.array(woods[rng.integers(len(woods))], dtype=np.float32), rng)
    across = bool(rng.random() < 0.3) and kind in (1, 3)
    if across:
        rows = rows[np.linspace(0, height - 1, width).astype(np.int64)]
        return np.broadcast_to(rows.astype(np.uint8)[None], (height, width, 3))
    return np.broadcast_to(rows.astype(np.uint8)[:, None], (height, width, 3))


def _wood(length: int, tone: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Boards side by side: float32 (length, 3)."""
    board = int(length * rng.uniform(0.14, 0.24))
    at = np.arange(length)
    grain = np.repeat(rng.uniform(-9.0, 9.0, length // 3 + 1), 3)[:length]
    per_board = rng.uniform(-14.0, 14.0, length // board + 1)[at // board]
    joint = np.where(at % board < max(2, length // 120), -46.0, 0.0)
    return np.clip(tone + (grain + per_board + joint)[:, None], 0, 255).astype(np.float32)


def obstacle(avoid_x: float, avoid_y: float, avoid_radius: float, rng: np.random.Generator) -> tuple[Colour, Polygon]:
    """Something small over the edge of the product (a sticker, a price tag), in the product's unit square.

    It never reaches the circle that is to be avoided, and covers at most a tenth of the square.
    """
    radius = rng.uniform(0.07, 0.12)
    corners = [(0.17, 0.17), (0.83, 0.17), (0.17, 0.83), (0.83, 0.83), (0.5, 0.92), (0.08, 0.5), (0.92, 0.5)]
    reach = avoid_radius + radius * 1.23 + 0.01
    free = [(x, y) for x, y in corners if (x - avoid_x) ** 2 + (y - avoid_y) ** 2 > reach**2]
    x, y = free[rng.integers(len(free))]
    tone = int(rng.integers(90, 170))
    if rng.random() < 0.5:
        shape = ellipse(x, y, radius, radius, points=24)
    else:
        shape = rounded(x - radius, y - 0.7 * radius, x + radius, y + 0.7 * radius, 0.2 * radius)
    return (tone, tone, tone + 8), shape


def light(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Make the picture under another light, brighter on one side, warmer or colder, and noisy: uint8 (H, W, 3)."""
    height, width, _ = pixels.shape
    level, slope = rng.uniform(0.86, 1.06), rng.uniform(-0.12, 0.12)
    length = width if rng.random() < 0.5 else height
    ramp = np.linspace(level - slope, level + slope, length, dtype=np.float32)
    tint = np.array([1.0, 1.0, 1.0], dtype=np.float32) + np.array([1.0, 0.2, -1.0], np.float32) * rng.uniform(
        -0.05, 0.05
    )
    gain = (ramp[None, :, None] if length == width else ramp[:, None, None]) * tint
    lit = pixels * gain
    strength = np.float32(rng.uniform(0.0, 8.0))
    lit += (_NORMAL * strength)[np.frombuffer(rng.bytes(height * width), dtype=np.uint8)].reshape(height, width, 1)
    shown: Pixels = np.clip(lit, 0, 255).astype(np.uint8)
    return shown
