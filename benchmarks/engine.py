"""The engine against transformers on images of mixed shapes, and against what the machine can multiply."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks import checkpoints, limit, photos, prepared
from benchmarks.report import Figure, Measured, figure
from benchmarks.settings import Settings
from benchmarks.stock import StockVilt
from benchmarks.timing import by_turns, rates, ratios, seconds
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.layers.device import DTYPES
from vqa_ray.models.vilt.model import Vilt
from vqa_ray.types import Image, ImageTransform

_PAIRS, _ROUNDS = 40, 3
_BATCH = 8
_TOP_K = 5
_TOKENS = 4_096


def measure(settings: Settings) -> Measured:
    """Pairs per second, ratios to both ways of using transformers, and the share of the bound."""
    path = checkpoints.vilt_b32(settings.quick)
    count, rounds = settings.pick(_PAIRS, 10), settings.pick(_ROUNDS, 1)
    images, texts = photos.decoded(count), photos.questions(count)
    decoded, asked = prepared.arrays(images), prepared.asked(texts)
    transform = Checkpoint.open(str(path)).transform
    stock = StockVilt(path)
    engines = {prepared.dtype_of(vilt): vilt for vilt in (prepared.engine(path, "float32"), prepared.engine(path))}
    sized = prepared.sized(decoded, transform)
    singles, batches = stock.batches(images, texts, 1), stock.batches(images, texts, _BATCH)

    contestants: dict[str, Callable[[], float]] = {
        "stock one by one": seconds(lambda: stock.answer(images, texts, 1)),
        "stock batched": seconds(lambda: stock.answer(images, texts, _BATCH)),
        "forward stock one by one": seconds(lambda: [stock.forward(inputs) for inputs in singles]),
        "forward stock batched": seconds(lambda: [stock.forward(inputs) for inputs in batches]),
    }
    for name, vilt in engines.items():
        contestants[name] = seconds(partial(_from_decoded, vilt, decoded, transform, asked))
        contestants[f"forward {name}"] = seconds(partial(vilt.answer, sized, asked, _TOP_K))
        device = vilt.device
        contestants[f"bound {name}"] = limit.matmul_rate(checkpoints.B32, _TOKENS, DTYPES[name], device)
    measured = by_turns(contestants, rounds)

    stock_flops = limit.count_flops(lambda: [stock.forward(inputs) for inputs in singles]) / count
    first = next(iter(engines.values()))
    own_flops = limit.count_flops(lambda: first.answer(sized, asked, _TOP_K)) / count
    speed = {name: rates(count, values) for name, values in measured.items() if not name.startswith("bound")}
    figures: list[Figure] = [
        figure(
            f"ViLT-B/32, mixed shapes: (a) transformers one by one, {stock_dtype(stock)}",
            speed["stock one by one"],
            "pairs/s",
        ),
        figure(f"(b) transformers in batches of {_BATCH}, {stock_dtype(stock)}", speed["stock batched"], "pairs/s"),
    ]
    required = {"float32": 1.5, "bfloat16": 3.5}
    for name in engines:
        figures += [
            figure(f"the engine, {name}", speed[name], "pairs/s"),
            figure(f"the engine, {name}, to (a)", ratios(speed[name], speed["stock one by one"]), "×"),
            figure(
                f"the engine, {name}, to (b)",
                ratios(speed[name], speed["stock batched"]),
                "×",
                at_least=required[name],
            ),
            figure(
                f"forward alone, {name}, to that of (b)",
                ratios(speed[f"forward {name}"], speed["forward stock batched"]),
                "×",
            ),
            *_of_bound(name, speed, measured[f"bound {name}"], {"stock": stock_flops, "own": own_flops}),
        ]
    return Measured(figures, _notes(count, rounds, stock_flops, own_flops))


def _from_decoded(vilt: Vilt, decoded: list[Image], transform: ImageTransform, asked: list[list[str]]) -> None:
    vilt.answer(prepared.sized(decoded, transform), asked, _TOP_K)


def _of_bound(name: str, speed: dict[str, list[float]], matmul: list[float], flops: dict[str, float]) -> list[Figure]:
    """Return what the engine reaches of matmul FLOP/s ÷ FLOPs per pair."""
    forward = speed[f"forward {name}"]
    stock, own = ([rate / flops[whose] for rate in matmul] for whose in ("stock", "own"))
    return [
        figure(f"matrix products in {name}", [rate / 1e9 for rate in matmul], "GFLOP/s"),
        figure(
            f"the engine with its resizing, {name}, of the bound by the stock forward's FLOPs",
            ratios(speed[name], stock),
            at_least=0.85,
        ),
        figure(f"forward alone, {name}, of the bound by the stock forward's FLOPs", ratios(forward, stock)),
        figure(f"forward alone, {name}, of the bound by the engine's own FLOPs", ratios(forward, own)),
    ]


def stock_dtype(stock: StockVilt) -> str:
    """`float32`, as `from_pretrained` gives it."""
    return str(stock.model.dtype).removeprefix("torch.")


def _notes(count: int, rounds: int, stock_flops: float, own_flops: float) -> list[str]:
    shapes = ", ".join(f"{width}×{height}" for width, height in photos.MIXED_SIZES)
    return [
        photos.source(),
        f"{count} pairs a round, {rounds} rounds; decoded RGB images of {shapes} pixels in an order at random, a "
        "question each; ViLT-B/32 with random weights, the same files for all.",
        f"transformers is timed from decoded PIL images to the best {_TOP_K} answers with scores: its processor "
        "(padding, pixel mask, truncation) and model under inference_mode. The engine is timed from the same images "
        "as uint8 arrays to the same answers: resize, tokens, forward, top-k; loading and decoding are in neither.",
        "Forward alone starts from prepared inputs: padded tensors for transformers, resized uint8 for the engine.",
        "FLOPs per pair, counted by torch.utils.flop_counter: stock forward, one unpadded pair at a time, "
        f"{stock_flops / 1e9:.1f} G; the engine, whose last layer computes only [CLS], {own_flops / 1e9:.1f} G. "
        "The bound is the rate of the fastest matrix product of a layer in the same round, divided by these.",
    ]
