"""Encoded bytes to the model's size, on one core, against transformers' PIL processor."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from PIL import Image

from benchmarks import checkpoints, photos
from benchmarks.report import Figure, Measured, figure
from benchmarks.settings import Settings
from benchmarks.stock import StockVilt
from benchmarks.timing import by_turns, rates, ratios, seconds
from vqa_ray.images import ImageLimits, TargetSize, decode_resized
from vqa_ray.models.load import load_transform

_ROUNDS = 7
# Width and height → images a round.
_SOURCES = {(640, 480): 40, (3000, 2000): 8}


def measure(settings: Settings) -> Measured:
    """Images per second and core, and ratios."""
    path = checkpoints.vilt_b32(settings.quick)
    transform = load_transform(str(path)).target_size
    processor = StockVilt(path, device="cpu").processor.image_processor
    rounds = settings.pick(_ROUNDS, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    figures: list[Figure] = []
    try:
        for (width, height), full in _SOURCES.items():
            files = photos.jpegs(settings.pick(full, 2), width, height)
            contestants: dict[str, Callable[[], float]] = {
                "stock": seconds(partial(_stock, files, processor)),
                "exact": seconds(partial(_ours, files, transform, fast=False)),
                "fast": seconds(partial(_ours, files, transform, fast=True)),
            }
            measured = by_turns(contestants, rounds)
            speed = {name: rates(len(files), values) for name, values in measured.items()}
            figures += _figures(f"{width}×{height} JPEG", speed)
    finally:
        torch.set_num_threads(threads)
    return Measured(
        figures,
        [
            photos.source() + f" {_counts(settings)} a round, {rounds} rounds.",
            "Scaled and cropped to their size, with grain, JPEG quality 90: about as many bytes as from a camera.",
            "One thread. transformers: Image.open, convert to RGB and ViltImageProcessorPil, which resizes with PIL, "
            "normalises and makes the pixel mask. Ours: limits, decoding, EXIF orientation, colour, resize to uint8; "
            "normalising is left to the device, where it is part of the forward.",
            "fast is `--fast-decode`: JPEG is decoded at 1/2, 1/4 or 1/8 of its size; pixels differ slightly.",
        ],
    )


def _stock(files: Sequence[bytes], processor: Callable[..., object]) -> None:
    for data in files:
        processor(Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt")


def _ours(files: Sequence[bytes], target_size: TargetSize, *, fast: bool) -> None:
    for data in files:
        decode_resized(data, ImageLimits(), target_size, fast=fast)


_REQUIRED = {("640×480 JPEG", "exact"): 4.0, ("3000×2000 JPEG", "exact"): 2.3, ("3000×2000 JPEG", "fast"): 5.0}


def _figures(source: str, speed: Mapping[str, Sequence[float]]) -> list[Figure]:
    figures = [figure(f"decode and resize, {source}: transformers", speed["stock"], "images/s/core")]
    for way in ("exact", "fast"):
        if way == "fast" and (source, way) not in _REQUIRED:
            continue
        figures += [
            figure(f"decode and resize, {source}: {way}", speed[way], "images/s/core"),
            figure(
                f"decode and resize, {source}: {way}, to transformers",
                ratios(speed[way], speed["stock"]),
                "×",
                at_least=_REQUIRED[source, way],
            ),
        ]
    return figures


def _counts(settings: Settings) -> str:
    return " and ".join(f"{settings.pick(full, 2)} of {w}×{h}" for (w, h), full in _SOURCES.items())
