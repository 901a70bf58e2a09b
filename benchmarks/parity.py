"""Whether the engine computes what the stock forward computes, with the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks import checkpoints, photos, prepared
from benchmarks.report import Figure, Measured, figure
from benchmarks.settings import Settings
from benchmarks.stock import StockVilt
from vqa_ray.models.checkpoint.opened import Checkpoint
from vqa_ray.models.vilt.model import Vilt
from vqa_ray.types import Answer, Image

_PAIRS = 200


def measure(settings: Settings) -> Measured:
    """Largest difference of logits and scores in float32; agreement of the top answer, also in bfloat16."""
    path = checkpoints.vilt_b32(settings.quick)
    count = settings.pick(_PAIRS, 12)
    images = prepared.sized(prepared.arrays(photos.decoded(count)), Checkpoint.open(str(path)).transform)
    questions = photos.questions(count)
    stock = StockVilt(path, dtype=torch.float32)
    wanted = np.concatenate([_logits(stock, image, text) for image, text in zip(images, questions, strict=True)])
    exact = prepared.engine(path, "float32")
    figures = [*_exact(exact, images, questions, wanted, count)]
    half = prepared.engine(path, "bfloat16")
    agreement = _agreement(half, images, questions, wanted)
    figures.append(
        figure(f"top answer in bfloat16 equals the stock one in float32, share of {count} pairs", [agreement])
    )
    return Measured(
        figures,
        [
            photos.source(),
            f"ViLT-B/32 with random weights; logits have a standard deviation of {wanted.std():.2f}. "
            "The stock model answers one pair at a time, the engine all of them in one call; both get the same pixels.",
            "Logits of the engine are recovered from its scores, which adds an error of up to 1e-5.",
            f"With random weights the best two of {wanted.shape[1]:,} answers are often nearly equal "
            f"(median gap {_median_gap(wanted):.2f}), so bfloat16 changes the top answer more often "
            "than with trained weights.",
        ],
    )


def _exact(
    vilt: Vilt, images: Sequence[Image], questions: Sequence[str], wanted: npt.NDArray[Any], count: int
) -> list[Figure]:
    scores = _scores(vilt.answer(images, prepared.asked(questions), wanted.shape[1]), vilt)
    logits = np.log(scores / (1 - scores))
    same = float(np.mean(scores.argmax(-1) == wanted.argmax(-1)))
    stock_scores = 1 / (1 + np.exp(-wanted))
    return [
        figure(
            f"engine vs stock forward, float32, {count} mixed pairs: largest difference of a logit",
            [float(np.abs(logits - wanted).max())],
            at_most=1e-4,
        ),
        figure("the same, largest difference of a score", [float(np.abs(scores - stock_scores).max())], at_most=1e-4),
        figure("the same, share of pairs with an equal top answer", [same], at_least=1.0),
    ]


def _agreement(vilt: Vilt, images: Sequence[Image], questions: Sequence[str], wanted: npt.NDArray[Any]) -> float:
    answered = vilt.answer(images, prepared.asked(questions), 1)
    tops = [vilt.labels[place] for place in wanted.argmax(-1)]
    return float(np.mean([one.answers[0][0] == top for (one,), top in zip(answered, tops, strict=True)]))


def _logits(stock: StockVilt, image: Image, question: str) -> npt.NDArray[Any]:
    """float64 (1, A), of pixels that have the model's size already."""
    pixels = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    text = stock.processor.tokenizer(question, return_tensors="pt")
    mask = torch.ones(1, *image.shape[:2], dtype=torch.long)
    inputs = {**text, "pixel_values": pixels, "pixel_mask": mask}
    logits = stock.forward({name: value.to(stock.device) for name, value in inputs.items()})
    return logits.double().cpu().numpy()


def _scores(answered: Sequence[Sequence[Answer]], vilt: Vilt) -> npt.NDArray[Any]:
    """float64 (N, A), in the order of the vocabulary."""
    place = {label: index for index, label in enumerate(vilt.labels)}
    scores = np.zeros((len(answered), len(vilt.labels)))
    for row, (one,) in enumerate(answered):
        for label, score in one.answers:
            scores[row, place[label]] = score
    return scores


def _median_gap(logits: npt.NDArray[Any]) -> float:
    best = np.sort(logits, axis=-1)[:, -2:]
    return float(np.median(best[:, 1] - best[:, 0]))
