"""Encoded bytes to the model's size, on one core, against transformers' PIL processor."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from PIL import Image

from benchmarks import checkpoints, photos
from benchmarks.report import Figure, Measured, figure
from benchmarks.settings import Settings
from benchmarks.stock import StockVilt
from benchmarks.timing import by_turns, rates, ratios
from vqa_ray.images.decoder import ImageLimits, TargetSize, decode_resized
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.transforms.square import SquareTransform
from vqa_ray.process import prepare_for_decoding

_ROUNDS = 7
# The side of BLIP-2's images, in pixels.
_SQUARE = 224
# Width and height → images a round.
_SOURCES = {(640, 480): 40, (3000, 2000): 8}


def measure(settings: Settings) -> Measured:
    """Images per second and core, and ratios."""
    path = checkpoints.vilt_b32(settings.quick)
    rounds = settings.pick(_ROUNDS, 1)
    figures: list[Figure] = []
    for (width, height), full in _SOURCES.items():
        files = photos.jpegs(settings.pick(full, 2), width, height)
        with _process(path, files, prepared=False) as plain, _process(path, files, prepared=True) as worker:
            contestants: dict[str, Callable[[], float]] = {
                "stock": lambda run=plain: run("stock"),
                "exact": lambda run=worker: run("exact"),
                "fast": lambda run=worker: run("fast"),
            }
            measured = by_turns(contestants, rounds)
        speed = {name: rates(len(files), values) for name, values in measured.items()}
        figures += _figures(f"{width}×{height} JPEG", speed)
    small = photos.jpegs(settings.pick(_SOURCES[640, 480], 2), 640, 480)
    with _process(None, small, prepared=False) as plain, _process(None, small, prepared=True) as worker:
        ways = {"stock": lambda: plain("stock"), "exact": lambda: worker("exact"), "fast": lambda: worker("fast")}
        square = by_turns(ways, rounds)
    figures += _figures(_SQUARE_SOURCE, {name: rates(len(small), values) for name, values in square.items()})
    return Measured(
        figures,
        [
            photos.source() + f" {_counts(settings)} a round, {rounds} rounds.",
            "Scaled and cropped to their size, with grain, JPEG quality 90: about as many bytes as from a camera.",
            "One thread, a process for each side; ours is set up as a decoding worker is. transformers: Image.open, "
            "convert to RGB and ViltImageProcessorPil, which resizes with PIL, "
            "normalises and makes the pixel mask. Ours: limits, decoding, EXIF orientation, colour, resize to uint8; "
            "normalising is left to the device, where it is part of the forward.",
            f"BLIP-2: BlipImageProcessorPil to {_SQUARE}×{_SQUARE} on the one side, the same square on ours.",
            "fast is `--fast-decode`: JPEG is decoded at 1/2, 1/4 or 1/8 of its size; pixels differ slightly.",
        ],
    )


@contextmanager
def _process(path: Path | None, files: Sequence[bytes], *, prepared: bool) -> Iterator[Callable[[str], float]]:
    """Start a process that decodes all files one way; yields a function that returns how many seconds that took.

    Args:
        path: of the model; None for the square of BLIP-2.
        files: encoded.
        prepared: whether it is one of our decoding workers.
    """
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=_open, initargs=(path, files, prepared)
    ) as pool:
        yield lambda way: pool.submit(_seconds, way).result()


_WAYS: dict[str, Callable[[], None]] = {}


def _open(path: Path | None, files: Sequence[bytes], prepared: bool) -> None:
    torch.set_num_threads(1)
    if prepared:
        prepare_for_decoding()
        transform = SquareTransform(_SQUARE) if path is None else Checkpoint.open(str(path)).transform
        target_size = transform.target_size
        _WAYS["exact"] = partial(_ours, files, target_size, fast=False)
        _WAYS["fast"] = partial(_ours, files, target_size, fast=True)
    else:
        _WAYS["stock"] = partial(_stock, files, _stock_processor(path))


def _stock_processor(path: Path | None) -> Callable[..., object]:
    if path is not None:
        processor: Callable[..., object] = StockVilt(path, device="cpu").processor.image_processor
        return processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    return BlipImageProcessorPil(size={"height": _SQUARE, "width": _SQUARE})


def _seconds(way: str) -> float:
    begun = time.perf_counter()
    _WAYS[way]()
    return time.perf_counter() - begun


def _stock(files: Sequence[bytes], processor: Callable[..., object]) -> None:
    for data in files:
        processor(Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt")


def _ours(files: Sequence[bytes], target_size: TargetSize, *, fast: bool) -> None:
    for data in files:
        decode_resized(data, ImageLimits(), target_size, fast=fast)


_SQUARE_SOURCE = f"640×480 JPEG to BLIP-2's {_SQUARE}×{_SQUARE}"
_REQUIRED = {
    ("640×480 JPEG", "exact"): 4.0,
    ("3000×2000 JPEG", "exact"): 2.3,
    ("3000×2000 JPEG", "fast"): 5.0,
    (_SQUARE_SOURCE, "exact"): 4.0,
    (_SQUARE_SOURCE, "fast"): 4.0,
}


def _figures(source: str, speed: Mapping[str, Sequence[float]]) -> list[Figure]:
    figures = [figure(f"decode and resize, {source}: transformers", speed["stock"], "images/s/core")]
    for way in ("exact", "fast"):
        if (source, way) not in _REQUIRED:
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
