"""The engine on a CUDA device, against transformers on the same device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import checkpoints, photos, prepared
from benchmarks.report import Figure, Measured, figure
from benchmarks.settings import Settings
from benchmarks.stock import StockVilt
from benchmarks.timing import by_turns, rates, ratios, seconds
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.types import Image

_ROUNDS = 7
_PAIRS = 4_096
_BATCHES = (64, 128, 256, 512, 1_024)
_STOCK_PAIRS, _STOCK_BATCHES = 128, (8, 32, 128)
_PATCHES = (384, 512)  # pixels: 12 × 16 = 192 patches
_TEXT_TOKENS = 12
_TOP_K = 5


def measure(settings: Settings) -> Measured:
    """Pairs per second by batch size, ratio to transformers, agreement of bfloat16 with float32."""
    if not torch.cuda.is_available():
        return Measured([], ["no CUDA device"])
    path = checkpoints.vilt_b32(settings.quick)
    rounds = settings.pick(_ROUNDS, 1)
    question = _question(path)
    height, width = _PATCHES
    images = photos.decoded(settings.pick(_STOCK_PAIRS, 16), [(width, height)])
    sized = prepared.sized(prepared.arrays(images), Checkpoint.open(str(path)).transform)
    assert sized[0].shape[:2] == _PATCHES
    many = [sized[index % len(sized)] for index in range(settings.pick(_PAIRS, 64))]
    asked = prepared.asked([question] * len(many))
    half = prepared.engine(path, "bfloat16")
    stock = StockVilt(path)
    texts = [question] * len(images)

    contestants: dict[str, Callable[[], float]] = {}
    for size in _BATCHES:
        contestants[f"engine {size}"] = seconds(partial(_in_batches, half.answer, many, asked, size))
    for size in _STOCK_BATCHES:
        contestants[f"stock {size}"] = seconds(partial(stock.answer, images, texts, size))
        inputs = stock.batches(images, texts, size)
        contestants[f"stock forward {size}"] = seconds(partial(_forward, stock, inputs))
    measured = by_turns(contestants, rounds)
    speed = {
        name: rates(len(many) if name.startswith("engine") else len(images), values)
        for name, values in measured.items()
    }
    fastest, stock_fastest, stock_forward = (_fastest(speed, kind) for kind in ("engine", "stock", "stock forward"))
    figures: list[Figure] = [figure(f"ViLT-B/32 on CUDA, {name}", values, "pairs/s") for name, values in speed.items()]
    figures += [
        figure(f"bfloat16 at its best batch size ({fastest})", speed[fastest], "pairs/s", at_least=8_000),
        figure(
            f"the same to (b) transformers in float32 at its best batch size ({stock_fastest}), processor included",
            ratios(speed[fastest], speed[stock_fastest]),
            "×",
            at_least=5.0,
        ),
        figure(
            f"the same to the stock forward alone at its best batch size ({stock_forward})",
            ratios(speed[fastest], speed[stock_forward]),
            "×",
        ),
    ]
    exact = prepared.engine(path, "float32")
    mixed = prepared.sized(
        prepared.arrays(photos.decoded(settings.pick(512, 16))), Checkpoint.open(str(path)).transform
    )
    mixed_asked = prepared.asked(photos.questions(len(mixed)))
    tops = [[one.answers[0][0] for (one,) in vilt.answer(mixed, mixed_asked, 1)] for vilt in (exact, half)]
    agreement = float(np.mean([a == b for a, b in zip(*tops, strict=True)]))
    figures.append(
        figure(f"top answer in bfloat16 equals that in float32, share of {len(mixed)} mixed pairs", [agreement])
    )
    return Measured(figures, _notes(rounds, len(many), len(images)))


def _in_batches(answer: Callable[..., object], images: list[Image], asked: list[list[str]], batch_size: int) -> None:
    for start in range(0, len(images), batch_size):
        answer(images[start : start + batch_size], asked[start : start + batch_size], _TOP_K)


def _forward(stock: StockVilt, inputs: list[Any]) -> None:
    for each in inputs:
        stock.forward(each)


def _fastest(speed: dict[str, list[float]], kind: str) -> str:
    """Return the name of the contestant of a kind (`kind SIZE`) with the highest median."""
    names = [name for name in speed if name.rpartition(" ")[0] == kind]
    return max(names, key=lambda name: float(np.median(speed[name])))


def _question(path: object) -> str:
    """Return a question of exactly `_TEXT_TOKENS` tokens, the two that enclose it included."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    text = " ".join(["what is the person in the middle holding in the picture"] * 2).split()
    question = " ".join(text[: _TEXT_TOKENS - 2])
    assert len(tokenizer(question)["input_ids"]) == _TEXT_TOKENS
    return question


def _notes(rounds: int, pairs: int, stock_pairs: int) -> list[str]:
    return [
        photos.source(),
        f"{_TEXT_TOKENS} text tokens and 192 patches per pair; {pairs} pairs a round for the engine, {stock_pairs} for "
        f"transformers; {rounds} rounds.",
        "The engine is timed from resized uint8 images in host memory to answers: copies to the device are included. "
        "transformers is timed from decoded PIL images with its processor, and from tensors on the device without.",
    ]
